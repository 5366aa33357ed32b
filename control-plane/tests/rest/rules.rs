//! Rules: both algorithms, what the data plane cannot enforce, and versions.

use crate::support::app::App;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

fn bucket() -> Value {
    json!({"name": "burst", "scopes": [{"type": "PER_KEY"}, {"type": "PER_IP", "trustedHops": 1}],
           "algorithm": "TOKEN_BUCKET", "unit": "REQUESTS", "bucketSize": 10, "refillRate": 0.5,
           "endpoint": "/v1/chat/*", "methods": ["post"], "priority": 7, "mode": "shadow"})
}

fn window() -> Value {
    json!({"name": "window", "scopes": [{"type": "GLOBAL"}], "algorithm": "SLIDING_WINDOW",
           "unit": "TOKENS", "limit": 1000, "windowMs": 60_000})
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

fn without(mut body: Value, field: &str) -> Value {
    body.as_object_mut().unwrap().remove(field);
    body
}

#[tokio::test]
async fn a_rule_is_made_read_changed_and_deleted() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let made = app.post(&ada.path("/rules"), &ada.token, bucket()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!(made.body["version"], 1);
    assert_eq!(made.body["methods"], json!(["POST"]));
    assert_eq!(made.body["bucketSize"], json!(10));
    assert_eq!(made.body["refillRate"], json!(0.5));
    assert_eq!(made.body["failureMode"], "FAIL_OPEN");
    assert_eq!(made.body["enabled"], true);
    assert_eq!(made.body["scopes"], bucket()["scopes"]);
    let stored: (i64, i64) = sqlx::query_as("SELECT limit_amount, refill_milli_per_s FROM rule")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(stored, (10, 500));

    let path = ada.path(&format!("/rules/{}", made.str("/id")));
    let (before, removals) = app.feed().await;
    let off = app.patch(&path, &ada.token, json!({"enabled": false})).await;
    assert_eq!(
        (&off.body["version"], &off.body["enabled"]),
        (&json!(2), &json!(false))
    );
    assert_eq!(off.body["refillRate"], json!(0.5));
    assert_eq!(app.feed().await, (before + 1, removals + 1));
    let other = json!({"algorithm": "SLIDING_WINDOW", "limit": 3, "windowMs": 1000, "enabled": true, "endpoint": null});
    let other = app.patch(&path, &ada.token, other).await;
    assert_eq!(other.status, StatusCode::OK, "{other:?}");
    assert_eq!(other.body["version"], 3);
    assert_eq!(other.body.get("bucketSize"), None);
    assert_eq!(other.body["endpoint"], Value::Null);
    let incomplete = app
        .patch(&path, &ada.token, json!({"algorithm": "TOKEN_BUCKET"}))
        .await;
    assert_eq!(
        incomplete.problem(),
        (
            422,
            "invalid".into(),
            vec!["bucketSize".into(), "refillRate".into()]
        )
    );
    assert_eq!(app.get(&path, &ada.token).await.body, other.body);
    assert_eq!(app.delete(&path, &ada.token).await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.get(&path, &ada.token).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn cost_rules_count_nano_usd_exactly() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let text = r#"{"name":"c","scopes":[{"type":"PER_KEY"}],"algorithm":"SLIDING_WINDOW","unit":"COST",
                   "limit":0.0000003,"windowMs":1000}"#;
    let made = app
        .call_text(Method::POST, &ada.path("/rules"), &ada.token, text)
        .await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let limit: i64 = sqlx::query_scalar("SELECT limit_amount FROM rule")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(limit, 3);
    assert_eq!(made.body["limit"], json!(3e-7));
    let bucket = with(with(bucket(), "unit", json!("COST")), "bucketSize", json!(2.5));
    let made = app.post(&ada.path("/rules"), &ada.token, bucket).await;
    assert_eq!(
        (&made.body["bucketSize"], &made.body["refillRate"]),
        (&json!(2.5), &json!(0.5))
    );
}

#[tokio::test]
async fn what_is_not_enforced_is_refused_as_not_supported() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let scope = |kind: &str| json!([{ "type": kind }]);
    let named = |kind: &str| json!([{ "type": kind, "name": "x" }]);
    for (body, field) in [
        (
            with(window(), "algorithm", json!("SLIDING_WINDOW_COUNTER")),
            "algorithm",
        ),
        (with(window(), "algorithm", json!("FIXED_WINDOW")), "algorithm"),
        (with(window(), "algorithm", json!("CONCURRENCY")), "algorithm"),
        (with(window(), "scopes", scope("PER_MODEL")), "scopes[0].type"),
        (with(window(), "scopes", named("PER_HEADER")), "scopes[0].type"),
        (with(window(), "scopes", named("PER_TAG")), "scopes[0].type"),
    ] {
        let answer = app.post(&ada.path("/rules"), &ada.token, body.clone()).await;
        assert_eq!(
            answer.problem(),
            (422, "not_supported".to_owned(), vec![field.to_owned()]),
            "{body}"
        );
    }
}

#[tokio::test]
async fn bad_rules_name_the_field() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let bob = app.register("bob").await;
    let api = json!({"name": "x", "baseUrl": "https://api.openai.test", "authType": "NONE"});
    let foreign = app.post(&bob.path("/apis"), &bob.token, api).await;
    for (body, field) in [
        (without(window(), "name"), "name"),
        (without(window(), "scopes"), "scopes"),
        (with(window(), "scopes", json!([])), "scopes"),
        (
            with(
                window(),
                "scopes",
                json!([{"type": "PER_KEY"}, {"type": "PER_KEY"}]),
            ),
            "scopes[1].type",
        ),
        (
            with(window(), "scopes", json!([{"type": "PER_KEY", "trustedHops": 1}])),
            "scopes[0].trustedHops",
        ),
        (
            with(window(), "scopes", json!([{"type": "PER_IP", "trustedHops": 17}])),
            "scopes[0].trustedHops",
        ),
        (
            with(window(), "scopes", json!([{"type": "PER_IP", "name": "x"}])),
            "scopes[0].name",
        ),
        (
            with(window(), "scopes", json!([{"type": "PER_PLANET"}])),
            "scopes[0].type",
        ),
        (
            with(window(), "scopes", json!([{"type": "PER_IP", "hops": 1}])),
            "scopes[0].hops",
        ),
        (with(window(), "algorithm", json!("LEAKY")), "algorithm"),
        (with(window(), "unit", json!("BYTES")), "unit"),
        (without(window(), "limit"), "limit"),
        (with(window(), "limit", json!(0)), "limit"),
        (with(window(), "limit", json!(-1)), "limit"),
        (with(window(), "limit", json!(1.5)), "limit"),
        (
            with(window(), "limit", json!(18_446_744_073_709_551_615_u64)),
            "limit",
        ),
        (with(window(), "limit", json!(1e30)), "limit"),
        (with(window(), "windowMs", json!(0)), "windowMs"),
        (with(window(), "windowMs", json!(2_678_400_001_u64)), "windowMs"),
        (with(window(), "bucketSize", json!(1)), "bucketSize"),
        (with(bucket(), "refillRate", json!(0)), "refillRate"),
        (with(bucket(), "refillRate", json!(0.0001)), "refillRate"),
        (with(bucket(), "limit", json!(1)), "limit"),
        (with(window(), "endpoint", json!("v1")), "endpoint"),
        (with(window(), "endpoint", json!("/a b")), "endpoint"),
        (with(window(), "methods", json!(["GET POST"])), "methods[0]"),
        (with(window(), "mode", json!("log")), "mode"),
        (
            with(window(), "failureMode", json!("BOUNDED_OPEN")),
            "failureMode",
        ),
        (with(window(), "priority", json!(3_000_000_000_u64)), "priority"),
        (with(window(), "apiId", json!("x")), "apiId"),
        (
            with(window(), "apiId", json!("00000000-0000-7000-8000-000000000000")),
            "apiId",
        ),
        (with(window(), "apiId", foreign.body["id"].clone()), "apiId"),
        (with(window(), "version", json!(9)), "version"),
    ] {
        let answer = app.post(&ada.path("/rules"), &ada.token, body.clone()).await;
        assert_eq!(
            answer.problem(),
            (422, "invalid".to_owned(), vec![field.to_owned()]),
            "{body} {answer:?}"
        );
    }
    assert_eq!(
        app.get(&ada.path("/rules"), &ada.token).await.body["data"],
        json!([])
    );
}

#[tokio::test]
async fn a_rule_takes_the_workspaces_failure_mode_unless_it_has_one() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let closed = app
        .patch(
            &ada.path(""),
            &ada.token,
            json!({"settings": {"failureMode": "FAIL_CLOSED"}}),
        )
        .await;
    assert_eq!(closed.status, StatusCode::OK, "{closed:?}");
    let made = app.post(&ada.path("/rules"), &ada.token, window()).await;
    assert_eq!(made.body["failureMode"], "FAIL_CLOSED");
    let made = app
        .post(
            &ada.path("/rules"),
            &ada.token,
            with(window(), "failureMode", json!("FAIL_OPEN")),
        )
        .await;
    assert_eq!(made.body["failureMode"], "FAIL_OPEN");
}

#[tokio::test]
async fn a_request_is_tested_against_the_rules_in_their_order() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let api = |slug: &str| json!({"name": slug, "slug": slug, "baseUrl": "https://api.openai.test/v1", "authType": "NONE"});
    let one = app.post(&ada.path("/apis"), &ada.token, api("one")).await;
    let two = app.post(&ada.path("/apis"), &ada.token, api("two")).await;
    let key = app
        .post(&ada.path("/keys"), &ada.token, json!({"name": "k"}))
        .await;
    let key_id = key.str("/id").to_owned();
    let rule = |name: &str, more: Value| {
        let mut body = json!({"name": name, "scopes": [{"type": "PER_KEY"}], "algorithm": "SLIDING_WINDOW",
                              "limit": 1, "windowMs": 1000});
        for (field, value) in more.as_object().unwrap() {
            body[field] = value.clone();
        }
        body
    };
    for (name, more) in [
        ("old", json!({})),
        (
            "first",
            json!({"priority": 5, "endpoint": "/v1/chat/*", "methods": ["POST"]}),
        ),
        ("reads", json!({"methods": ["GET"]})),
        ("elsewhere", json!({"apiId": two.body["id"]})),
        ("images", json!({"endpoint": "/v1/images/**"})),
        ("off", json!({"enabled": false})),
        (
            "address",
            json!({"scopes": [{"type": "PER_IP"}], "sharedAcrossApis": true, "mode": "shadow"}),
        ),
    ] {
        let made = app.post(&ada.path("/rules"), &ada.token, rule(name, more)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        app.clock.advance_ms(1);
    }
    let test = |body: Value| {
        let (app, path, token) = (&app, ada.path("/rules/test"), ada.token.clone());
        async move { app.post(&path, &token, body).await }
    };
    let asked = json!({"path": "/proxy/one/chat/completions?x=1", "keyId": key_id, "ip": "::ffff:192.0.2.7"});
    let tested = test(asked).await;
    assert_eq!(tested.status, StatusCode::OK, "{tested:?}");
    assert_eq!(tested.body["endpoint"], "/v1/chat/completions");
    assert_eq!(tested.body["apiId"], one.body["id"]);
    let found: Vec<(&str, bool)> = tested.body["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| (rule["name"].as_str().unwrap(), rule["matches"].as_bool().unwrap()))
        .collect();
    let expected = [
        ("first", true),
        ("old", true),
        ("reads", false),
        ("elsewhere", false),
        ("images", false),
        ("off", false),
        ("address", true),
    ];
    assert_eq!(found, expected);
    let hex = |id: &str| id.replace('-', "");
    let partition = format!("a.{}:k.{}", hex(one.str("/id")), hex(&key_id));
    assert_eq!(tested.body["rules"][0]["partition"], partition);
    assert_eq!(tested.body["rules"][6]["partition"], "i.192.0.2.7");
    assert_eq!(
        tested.body["rules"][4]["reason"],
        "`/v1/images/**` does not match `/v1/chat/completions`"
    );

    let direct = json!({"apiId": two.body["id"], "endpoint": "/v1/models", "method": "get"});
    let direct = test(direct).await.body;
    let names: Vec<&Value> = direct["rules"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|rule| rule["matches"] == true)
        .map(|rule| &rule["name"])
        .collect();
    assert_eq!(names, ["old", "reads", "elsewhere", "address"]);
    assert_eq!(
        direct["rules"][1]["partition"],
        Value::Null,
        "whose bucket needs the key"
    );
    assert_eq!(
        test(json!({"path": "/proxy/none/x"})).await.body["rules"],
        json!([])
    );
    for (body, field) in [
        (json!({}), "path"),
        (json!({"path": "/other"}), "path"),
        (json!({"path": "proxy/one"}), "path"),
        (json!({"path": "/proxy/one", "apiId": two.body["id"]}), "path"),
        (json!({"apiId": "x", "endpoint": "/"}), "apiId"),
        (json!({"apiId": key_id, "endpoint": "/"}), "apiId"),
        (json!({"path": "/proxy/one", "ip": "x"}), "ip"),
        (json!({"path": "/proxy/one", "keyId": "x"}), "keyId"),
    ] {
        let refused = test(body.clone()).await;
        assert_eq!(
            refused.problem(),
            (422, "invalid".into(), vec![field.into()]),
            "{body}"
        );
    }
}
