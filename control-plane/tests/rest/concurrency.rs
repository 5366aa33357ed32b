//! Lost updates, requests sent twice, and lists that change while they are read.

use crate::support::app::{Answer, App};
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use serde_json::{Value, json};

async fn send(
    app: &App,
    method: Method,
    path: &str,
    token: &str,
    more: (&str, &str),
    body: &Value,
) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/json")
        .header(more.0, more.1)
        .body(if body.is_null() {
            Body::empty()
        } else {
            Body::from(body.to_string())
        });
    app.send(request.unwrap()).await
}

fn tag(headers: &HeaderMap) -> String {
    headers[header::ETAG].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn ca_14_an_update_of_what_somebody_else_changed_is_refused() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let rule = json!({"name": "r", "scopes": [{"type": "PER_KEY"}], "algorithm": "SLIDING_WINDOW",
                      "limit": 1, "windowMs": 1000});
    let api = json!({"name": "x", "baseUrl": "https://api.openai.test", "authType": "NONE"});
    let price = json!({"model": "m", "prices": {"inputCostPer1kTokens": 1, "outputCostPer1kTokens": 1}});
    for (route, body, change) in [
        ("/apis", api, json!({"name": "y"})),
        ("/keys", json!({"name": "k"}), json!({"name": "y"})),
        ("/rules", rule, json!({"name": "y"})),
        (
            "/budgets",
            json!({"name": "b", "limitCents": 1}),
            json!({"limitCents": 2}),
        ),
        (
            "/prices",
            price,
            json!({"prices": {"inputCostPer1kTokens": 2, "outputCostPer1kTokens": 1}}),
        ),
    ] {
        let made = app.post(&ada.path(route), &ada.token, body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        let path = ada.path(&format!("{route}/{}", made.str("/id")));
        let read = tag(&app.get(&path, &ada.token).await.headers);
        assert_eq!(read, tag(&made.headers), "{route}");
        let patch = |tag: String, body: Value| {
            let (app, path, token) = (&app, path.clone(), ada.token.clone());
            async move { send(app, Method::PATCH, &path, &token, ("if-match", &tag), &body).await }
        };
        let first = patch(read.clone(), change.clone()).await;
        assert_eq!(first.status, StatusCode::OK, "{route} {first:?}");
        assert_ne!(tag(&first.headers), read);
        let second = patch(read.clone(), change.clone()).await;
        assert_eq!(second.problem().0, 412, "{route}");
        assert_eq!(second.problem().1, "precondition_failed");
        assert_eq!(patch("*".to_owned(), change.clone()).await.status, StatusCode::OK);
        let delete = send(
            &app,
            Method::DELETE,
            &path,
            &ada.token,
            ("if-match", &read),
            &Value::Null,
        )
        .await;
        assert_eq!(delete.status, StatusCode::PRECONDITION_FAILED, "{route}");
        let now = tag(&app.get(&path, &ada.token).await.headers);
        let list = format!("\"other\", {now}");
        let delete = send(
            &app,
            Method::DELETE,
            &path,
            &ada.token,
            ("if-match", &list),
            &Value::Null,
        )
        .await;
        assert_eq!(delete.status, StatusCode::NO_CONTENT, "{route}");
    }
}

#[tokio::test]
async fn ca_14_use_of_a_key_is_no_change_of_it() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let made = app
        .post(&ada.path("/keys"), &ada.token, json!({"name": "k"}))
        .await;
    sqlx::query("UPDATE api_key SET last_used_at = now()")
        .execute(&app.db)
        .await
        .unwrap();
    let read = app
        .get(&ada.path(&format!("/keys/{}", made.str("/id"))), &ada.token)
        .await;
    assert!(read.body["lastUsedAt"].is_string());
    assert_eq!(tag(&read.headers), tag(&made.headers));
}

#[tokio::test]
async fn ca_13_the_same_creation_twice_happens_once() {
    let app = App::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let path = ada.path("/keys");
    let key = ("idempotency-key", "order-7");
    let body = json!({"name": "k"});
    let first = send(&app, Method::POST, &path, &ada.token, key, &body).await;
    assert_eq!(first.status, StatusCode::CREATED, "{first:?}");
    let again = send(&app, Method::POST, &path, &ada.token, key, &body).await;
    assert_eq!(again.status, StatusCode::CREATED);
    assert_eq!(again.body, first.body, "the key itself included");
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(tag(&again.headers), tag(&first.headers));
    let count = || async {
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM api_key")
            .fetch_one(&app.db)
            .await
            .unwrap()
    };
    assert_eq!(count().await, 1);
    let stored: String = sqlx::query_scalar("SELECT idempotency::text FROM idempotency")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert!(
        !stored.contains(first.str("/key")),
        "the key is not stored in plain text"
    );

    let other = send(
        &app,
        Method::POST,
        &path,
        &ada.token,
        key,
        &json!({"name": "other"}),
    )
    .await;
    assert_eq!(
        other.problem(),
        (409, "conflict".into(), vec!["Idempotency-Key".into()])
    );
    let elsewhere = send(&app, Method::POST, &bob.path("/keys"), &bob.token, key, &body).await;
    assert_eq!(elsewhere.status, StatusCode::CREATED);
    assert_ne!(elsewhere.body["id"], first.body["id"]);
    for bad in ["", &"x".repeat(256)] {
        let refused = send(
            &app,
            Method::POST,
            &path,
            &ada.token,
            ("idempotency-key", bad),
            &body,
        )
        .await;
        assert_eq!(
            refused.problem(),
            (422, "invalid".into(), vec!["Idempotency-Key".into()])
        );
    }
    // A refused request leaves its name free.
    let free = ("idempotency-key", "order-8");
    let refused = send(&app, Method::POST, &path, &ada.token, free, &json!({"name": ""})).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        send(&app, Method::POST, &path, &ada.token, free, &body)
            .await
            .status,
        StatusCode::CREATED
    );
    assert_eq!(count().await, 3);

    app.clock.advance_ms(24 * 3600 * 1000 + 1);
    let late = app
        .post(
            "/api/auth/login",
            "",
            json!({"email": "ada@example.com", "password": "correct horse"}),
        )
        .await;
    let token = late.str("/accessToken").to_owned();
    let late = send(&app, Method::POST, &path, &token, key, &json!({"name": "other"})).await;
    assert_eq!(
        late.status,
        StatusCode::CREATED,
        "after a day the name is free: {late:?}"
    );
}

#[tokio::test]
async fn ca_13_two_at_the_same_time_make_one() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let path = ada.path("/rules");
    let body = json!({"name": "r", "scopes": [{"type": "PER_KEY"}], "algorithm": "SLIDING_WINDOW",
                      "limit": 1, "windowMs": 1000});
    let one = || {
        send(
            &app,
            Method::POST,
            &path,
            &ada.token,
            ("idempotency-key", "race"),
            &body,
        )
    };
    let (a, b, c, d) = tokio::join!(one(), one(), one(), one());
    for answer in [&a, &b, &c, &d] {
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        assert_eq!(answer.body, a.body);
    }
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM rule")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(count, 1);
}

#[tokio::test]
async fn lists_come_in_pages_that_neither_skip_nor_repeat() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let mut names = Vec::new();
    for number in 0..7 {
        if number % 3 == 0 {
            app.clock.advance_ms(1);
        }
        let name = format!("k{number}");
        let made = app
            .post(&ada.path("/keys"), &ada.token, json!({"name": name}))
            .await;
        names.push(made.str("/id").to_owned());
    }
    let mut seen = Vec::new();
    let mut path = ada.path("/keys?limit=2");
    loop {
        let page = app.get(&path, &ada.token).await;
        assert_eq!(page.status, StatusCode::OK, "{page:?}");
        let data = page.body["data"].as_array().unwrap().clone();
        assert!(data.len() <= 2);
        seen.extend(data.iter().map(|key| key["id"].as_str().unwrap().to_owned()));
        if seen.len() == 4 {
            // One that was seen goes, one is added at the end.
            app.delete(&ada.path(&format!("/keys/{}", seen[3])), &ada.token)
                .await;
            app.clock.advance_ms(1);
            let made = app
                .post(&ada.path("/keys"), &ada.token, json!({"name": "late"}))
                .await;
            names.push(made.str("/id").to_owned());
        }
        match page.body["nextCursor"].as_str() {
            Some(cursor) => path = ada.path(&format!("/keys?limit=2&cursor={cursor}")),
            None => break,
        }
    }
    let mut sorted = (seen.clone(), names.clone());
    sorted.0.sort();
    sorted.1.sort();
    assert_eq!(sorted.0, sorted.1);
    let by_name = app
        .get(&ada.path("/keys?name=LATE&status=active"), &ada.token)
        .await;
    assert_eq!(by_name.body["data"].as_array().unwrap().len(), 1);
    let other_cursor = app.get(&ada.path("/keys?limit=2"), &ada.token).await;
    let cursor = other_cursor.str("/nextCursor").to_owned();
    let bob = app.register("bob").await;
    let foreign = app
        .get(&bob.path(&format!("/keys?cursor={cursor}")), &bob.token)
        .await;
    assert_eq!(foreign.body["data"], json!([]), "a cursor shows nobody's keys");
}
