//! APIs: what is stored, what is refused, and what is never shown.

use crate::support::app::{App, Person};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

const SECRET: &str = "sk-very-secret-canary";

fn openai() -> Value {
    json!({
        "name": "OpenAI",
        "baseUrl": "https://api.openai.test/v1",
        "hosts": ["API.openai.test"],
        "authType": "BEARER",
        "credential": SECRET,
        "usageFormat": "openai",
        "costModel": {
            "type": "PER_TOKEN",
            "models": [{
                "model": "gpt-4o*",
                "inputCostPer1kTokens": 0.25,
                "outputCostPer1kTokens": 1,
                "cachedInputCostPer1kTokens": 0.125
            }]
        },
        "timeoutMs": 600_000
    })
}

async fn create(app: &App, person: &Person, body: Value) -> Value {
    let answer = app.post(&person.path("/apis"), &person.token, body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    answer.body
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

#[tokio::test]
async fn an_api_is_made_read_changed_and_deleted_and_the_feed_hears_of_each() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let (before, _) = app.feed().await;
    let made = create(&app, &ada, openai()).await;
    assert_eq!(made["slug"], "openai");
    assert_eq!(made["hosts"], json!(["api.openai.test"]));
    assert_eq!(made["hasCredential"], true);
    assert_eq!(made["isActive"], true);
    let path = ada.path(&format!("/apis/{}", made["id"].as_str().unwrap()));
    assert_eq!(app.get(&path, &ada.token).await.body, made);
    let listed = app.get(&ada.path("/apis"), &ada.token).await;
    assert_eq!(listed.body, json!({"data": [made.clone()], "nextCursor": null}));
    assert_eq!(app.feed().await, (before + 1, 0));

    app.clock.advance_ms(5);
    let changed = app
        .patch(
            &path,
            &ada.token,
            json!({"isActive": false, "streamCostComment": true}),
        )
        .await;
    assert_eq!(changed.status, StatusCode::OK, "{changed:?}");
    assert_eq!(changed.body["isActive"], false);
    assert_eq!(changed.body["costModel"], made["costModel"]);
    assert_eq!(changed.body["priceVersion"], made["priceVersion"]);
    assert_ne!(changed.body["updatedAt"], made["updatedAt"]);
    let unpriced = app.patch(&path, &ada.token, json!({"costModel": null})).await;
    assert_eq!(unpriced.body["costModel"], Value::Null);
    assert_ne!(unpriced.body["priceVersion"], made["priceVersion"]);
    assert_eq!(app.feed().await, (before + 3, 0));

    let rule = json!({"name": "r", "apiId": made["id"], "scopes": [{"type": "PER_KEY"}],
                      "algorithm": "SLIDING_WINDOW", "limit": 5, "windowMs": 1000});
    let rule = app.post(&ada.path("/rules"), &ada.token, rule).await;
    assert_eq!(rule.status, StatusCode::CREATED, "{rule:?}");
    assert_eq!(app.delete(&path, &ada.token).await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.get(&path, &ada.token).await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        app.get(&ada.path("/rules"), &ada.token).await.body["data"],
        json!([])
    );
    assert_eq!(
        app.feed().await,
        (before + 5, 2),
        "the API and its rule left the feed"
    );
    assert_eq!(app.delete(&path, &ada.token).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_credential_is_stored_encrypted_and_never_answered() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let made = create(&app, &ada, openai()).await;
    let path = ada.path(&format!("/apis/{}", made["id"].as_str().unwrap()));
    for answer in [
        app.get(&path, &ada.token).await,
        app.get(&ada.path("/apis"), &ada.token).await,
        app.patch(&path, &ada.token, json!({"name": "Renamed"})).await,
    ] {
        let text = answer.body.to_string();
        assert!(
            !text.contains(SECRET) && !text.contains("\"credential\""),
            "{text}"
        );
    }
    let row: (String, String) = sqlx::query_as("SELECT credential, api::text FROM api")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(row.0.split(':').count(), 3, "iv:authTag:ciphertext");
    assert!(!row.1.contains(SECRET));
}

#[tokio::test]
async fn ca_08_another_host_needs_the_credential_again() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let made = create(&app, &ada, openai()).await;
    let path = ada.path(&format!("/apis/{}", made["id"].as_str().unwrap()));
    let credential = || async {
        sqlx::query_scalar::<_, String>("SELECT credential FROM api")
            .fetch_one(&app.db)
            .await
            .unwrap()
    };
    let stored = credential().await;
    for base_url in ["https://api.other.test/v1", "https://api.openai.test:8443/v1"] {
        let moved = app.patch(&path, &ada.token, json!({ "baseUrl": base_url })).await;
        assert_eq!(
            moved.problem(),
            (422, "invalid".into(), vec!["credential".into()]),
            "{base_url}"
        );
    }
    let retyped = json!({"authType": "API_KEY_HEADER", "authHeaderName": "x-api-key"});
    let retyped = app.patch(&path, &ada.token, retyped).await;
    assert_eq!(
        retyped.problem(),
        (422, "invalid".into(), vec!["credential".into()])
    );
    assert_eq!(
        app.get(&path, &ada.token).await.body["baseUrl"],
        "https://api.openai.test/v1"
    );
    assert_eq!(credential().await, stored);

    let same_host = app
        .patch(
            &path,
            &ada.token,
            json!({"baseUrl": "https://api.openai.test/v2"}),
        )
        .await;
    assert_eq!(same_host.status, StatusCode::OK);
    assert_eq!(credential().await, stored);
    let again = json!({"baseUrl": "https://api.other.test", "credential": "new-secret"});
    assert_eq!(app.patch(&path, &ada.token, again).await.status, StatusCode::OK);
    assert_ne!(credential().await, stored);
    let none = app.patch(&path, &ada.token, json!({"authType": "NONE"})).await;
    assert_eq!(none.body["hasCredential"], false);
}

#[tokio::test]
async fn bad_apis_name_the_field() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let prices = |field: &str, value: Value| {
        let mut model =
            json!({"type": "PER_TOKEN", "default": {"inputCostPer1kTokens": 1, "outputCostPer1kTokens": 1}});
        model["default"][field] = value;
        with(openai(), "costModel", model)
    };
    let header = |name: &str| {
        with(
            with(openai(), "authType", json!("API_KEY_HEADER")),
            "authHeaderName",
            json!(name),
        )
    };
    let table = [
        (with(openai(), "name", json!("")), "invalid", "name"),
        (with(openai(), "slug", json!("Open AI")), "invalid", "slug"),
        (with(openai(), "slug", json!("x".repeat(65))), "invalid", "slug"),
        (with(openai(), "surprise", json!(1)), "invalid", "surprise"),
        (
            with(openai(), "workspaceId", json!(ada.workspace_id)),
            "invalid",
            "workspaceId",
        ),
        (
            with(openai(), "hosts", json!(["api.openai.test/path"])),
            "invalid",
            "hosts[0]",
        ),
        (
            with(openai(), "hosts", json!(["a.test", "A.test"])),
            "invalid",
            "hosts[1]",
        ),
        (with(openai(), "hosts", json!("a.test")), "invalid", "hosts"),
        (with(openai(), "timeoutMs", json!(0)), "invalid", "timeoutMs"),
        (with(openai(), "timeoutMs", json!(-1)), "invalid", "timeoutMs"),
        (with(openai(), "authType", json!("DIGEST")), "invalid", "authType"),
        (with(openai(), "authType", json!("NONE")), "invalid", "credential"),
        (with(openai(), "credential", json!(null)), "invalid", "credential"),
        (with(openai(), "credential", json!("")), "invalid", "credential"),
        (
            with(
                with(openai(), "authType", json!("BASIC")),
                "credential",
                json!("nocolon"),
            ),
            "invalid",
            "credential",
        ),
        (
            with(openai(), "authHeaderName", json!("x-api-key")),
            "invalid",
            "authHeaderName",
        ),
        (header(""), "invalid", "authHeaderName"),
        (header("Host"), "invalid", "authHeaderName"),
        (header("x-rateguard-cluster"), "invalid", "authHeaderName"),
        (
            with(openai(), "usageFormat", json!("xml")),
            "invalid",
            "usageFormat",
        ),
        (
            with(openai(), "costModel", json!({})),
            "invalid",
            "costModel.type",
        ),
        (
            with(openai(), "costModel", json!({"type": "FREE"})),
            "invalid",
            "costModel.type",
        ),
        (
            with(openai(), "costModel", json!({"type": "PER_TOKEN"})),
            "invalid",
            "costModel",
        ),
        (
            with(openai(), "costModel", json!({"type": "PER_REQUEST"})),
            "invalid",
            "costModel.costCentsPerRequest",
        ),
        (
            with(
                openai(),
                "costModel",
                json!({"type": "PER_REQUEST", "costCentsPerRequest": 1, "models": []}),
            ),
            "invalid",
            "costModel.models",
        ),
        (
            with(
                openai(),
                "costModel",
                json!({"type": "PER_UNIT", "unitName": "page", "costCentsPerUnit": 1}),
            ),
            "not_supported",
            "costModel.type",
        ),
        (
            with(
                openai(),
                "costModel",
                json!({"type": "TIERED", "unitName": "page", "tiers": []}),
            ),
            "not_supported",
            "costModel.type",
        ),
        (
            with(openai(), "costModel", json!({"type": "CATALOGUE", "models": []})),
            "invalid",
            "costModel.models",
        ),
        (
            prices("inputCostPer1kTokens", json!(-1)),
            "invalid",
            "costModel.default.inputCostPer1kTokens",
        ),
        (
            prices("inputCostPer1kTokens", json!(1e30)),
            "invalid",
            "costModel.default.inputCostPer1kTokens",
        ),
        (
            prices("inputCostPer1kTokens", json!(1e-30)),
            "invalid",
            "costModel.default.inputCostPer1kTokens",
        ),
        (
            prices("inputCostPer1kTokens", json!("one")),
            "invalid",
            "costModel.default.inputCostPer1kTokens",
        ),
        (
            prices("inputCostPer1kTokens", json!(null)),
            "invalid",
            "costModel.default.inputCostPer1kTokens",
        ),
        (
            prices("perImage", json!(1)),
            "invalid",
            "costModel.default.perImage",
        ),
    ];
    for (body, code, field) in table {
        let answer = app.post(&ada.path("/apis"), &ada.token, body.clone()).await;
        assert_eq!(
            answer.problem(),
            (422, code.to_owned(), vec![field.to_owned()]),
            "{body} {answer:?}"
        );
    }
    assert_eq!(
        app.get(&ada.path("/apis"), &ada.token).await.body["data"],
        json!([])
    );
}

#[tokio::test]
async fn ca_05_private_and_odd_base_urls_are_refused() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    for base_url in [
        "http://api.openai.test",
        "https://user:pass@api.openai.test",
        "https://127.0.0.1",
        "https://[::1]/v1",
        "https://0.0.0.0",
        "https://2130706433",
        "https://0x7f.1",
        "https://[::ffff:10.0.0.1]",
        "https://169.254.169.254/latest",
        "https://metadata.google.internal",
        "https://100.64.0.1",
        "https://api.openai.test:6379",
        "https://unknown.test",
        "https://api.openai.test/v1?x=1",
        "ftp://api.openai.test",
        "api.openai.test",
        "",
    ] {
        let answer = app
            .post(
                &ada.path("/apis"),
                &ada.token,
                with(openai(), "baseUrl", json!(base_url)),
            )
            .await;
        assert_eq!(
            answer.problem(),
            (422, "invalid".into(), vec!["baseUrl".into()]),
            "{base_url}"
        );
    }
    let allowed =
        App::start_with(|config| config.upstream_allow = "http://127.0.0.0/8:*".parse().unwrap()).await;
    let bob = allowed.register("bob").await;
    create(
        &allowed,
        &bob,
        with(openai(), "baseUrl", json!("http://127.0.0.1:18080")),
    )
    .await;
}

#[tokio::test]
async fn slugs_and_hosts_are_one_apis_in_a_workspace() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    create(&app, &ada, openai()).await;
    let slug = with(with(openai(), "hosts", json!([])), "name", json!("Open AI"));
    let slug = app
        .post(
            &ada.path("/apis"),
            &ada.token,
            with(slug, "slug", json!("openai")),
        )
        .await;
    assert_eq!(slug.problem(), (409, "conflict".into(), vec!["slug".into()]));
    let host = app
        .post(
            &ada.path("/apis"),
            &ada.token,
            with(openai(), "slug", json!("second")),
        )
        .await;
    assert_eq!(host.problem(), (409, "conflict".into(), vec!["hosts".into()]));
    let bob = app.register("bob").await;
    create(&app, &bob, openai()).await;
}

#[tokio::test]
async fn money_goes_in_and_out_exactly() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    for (given, shown) in [
        ("0.1", "0.1"),
        ("0.0000001", "0.0000001"),
        ("\"0.3\"", "0.3"),
        ("1.0000000", "1"),
        ("15e-2", "0.15"),
        ("900719925.4740991", "900719925.4740991"),
        ("123456789.1234567", "123456789.1234567"),
        ("0", "0"),
    ] {
        let body = format!(
            r#"{{"name":"x","slug":"s{}","baseUrl":"https://api.openai.test","authType":"NONE","costModel":
                {{"type":"PER_REQUEST","costCentsPerRequest":{given}}}}}"#,
            shown.replace('.', "-")
        );
        let answer = app
            .call_text(Method::POST, &ada.path("/apis"), &ada.token, &body)
            .await;
        assert_eq!(answer.status, StatusCode::CREATED, "{given} {answer:?}");
        // The text, not a float: read it back from the row and from the answer's raw JSON.
        let id = answer.str("/id").to_owned();
        let nanos: String = sqlx::query_scalar("SELECT cost_model->>'cost' FROM api WHERE id = $1::uuid")
            .bind(&id)
            .fetch_one(&app.db)
            .await
            .unwrap();
        let expected = rateguard_api::decimal::parse_fixed(shown, 7).unwrap();
        assert_eq!(nanos, expected.to_string(), "{given}");
        let model = answer.body["costModel"]["costCentsPerRequest"].to_string();
        // The test's own client reads numbers as doubles: the nearest one to the same text.
        let (shown, model) = (shown.parse::<f64>().unwrap(), model.parse::<f64>().unwrap());
        assert!(shown.total_cmp(&model).is_eq(), "{given}");
    }
    let too_precise = r#"{"name":"x","baseUrl":"https://api.openai.test","authType":"NONE","costModel":
        {"type":"PER_REQUEST","costCentsPerRequest":0.00000001}}"#;
    let answer = app
        .call_text(Method::POST, &ada.path("/apis"), &ada.token, too_precise)
        .await;
    assert_eq!(
        answer.problem(),
        (
            422,
            "invalid".into(),
            vec!["costModel.costCentsPerRequest".into()]
        )
    );
    assert!(answer.str("/errors/0/message").contains("7 decimal places"));
}

#[tokio::test]
async fn ca_09_line_breaks_and_templates_are_no_header() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let by_header = with(openai(), "authType", json!("API_KEY_HEADER"));
    let names = [
        "x-api-key\r\nhost: evil.test",
        "x-api-key\n",
        "{}",
        "${HOST}",
        "{{ env.SECRET }}",
        "%REQ(host)%",
        "x api key",
        "x-api-kéy",
        "x-api-key\0",
    ];
    let values = ["sk\r\nhost: evil.test", "sk\n", "sk\0", "\u{7f}", "sk\tx"];
    let named = names.map(|name| {
        (
            with(by_header.clone(), "authHeaderName", json!(name)),
            "authHeaderName",
        )
    });
    let valued = values.map(|value| (with(openai(), "credential", json!(value)), "credential"));
    for (body, field) in named.into_iter().chain(valued) {
        let answer = app.post(&ada.path("/apis"), &ada.token, body.clone()).await;
        assert_eq!(
            answer.problem(),
            (422, "invalid".to_owned(), vec![field.to_owned()]),
            "{body}"
        );
    }
    // A value that looks like one of Envoy's or a shell's templates is a value: nothing expands it.
    let plain = with(openai(), "credential", json!("%REQ(host)%${HOST}{{x}}"));
    assert_eq!(
        app.post(&ada.path("/apis"), &ada.token, plain).await.status,
        StatusCode::CREATED
    );
}
