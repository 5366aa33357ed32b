//! Whose is what: other workspaces' ids name nothing, and roles are read from the database.

use crate::support::app::{App, Person};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

/// One API, key, rule and token of a person's workspace, by route.
async fn belongings(app: &App, person: &Person) -> Vec<(String, String)> {
    let mut made = Vec::new();
    for (route, body) in [
        (
            "apis",
            json!({"name": "x", "baseUrl": "https://api.openai.test", "authType": "NONE"}),
        ),
        ("keys", json!({"name": "k"})),
        (
            "rules",
            json!({"name": "r", "scopes": [{"type": "PER_KEY"}], "algorithm": "SLIDING_WINDOW",
                   "limit": 1, "windowMs": 1000}),
        ),
        ("data-planes", json!({"name": "envoy"})),
    ] {
        let answer = app
            .post(&person.path(&format!("/{route}")), &person.token, body)
            .await;
        assert_eq!(answer.status, StatusCode::CREATED, "{route} {answer:?}");
        made.push((route.to_owned(), answer.str("/id").to_owned()));
    }
    made
}

/// Method, path and body of every route on one thing.
fn item_routes(route: &str, path: &str) -> Vec<(Method, String, Value)> {
    let mut routes = vec![(Method::DELETE, path.to_owned(), Value::Null)];
    if route != "data-planes" {
        routes.push((Method::GET, path.to_owned(), Value::Null));
        routes.push((Method::PATCH, path.to_owned(), json!({"name": "taken over"})));
    }
    let more: &[&str] = match route {
        "keys" => &["revoke", "rotate"],
        "rules" => &["reset"],
        _ => &[],
    };
    routes.extend(
        more.iter()
            .map(|verb| (Method::POST, format!("{path}/{verb}"), Value::Null)),
    );
    routes
}

async fn dump(app: &App) -> Vec<String> {
    let mut all = Vec::new();
    for table in [
        "workspace",
        "api",
        "api_key",
        "rule",
        "budget",
        "data_plane_token",
        "feed_removal",
    ] {
        let query = format!("SELECT t::text FROM {table} t ORDER BY 1");
        all.extend(
            sqlx::query_scalar::<_, String>(&query)
                .fetch_all(&app.db)
                .await
                .unwrap(),
        );
    }
    all
}

#[tokio::test]
async fn ti_01_another_workspace_is_404_on_every_route() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let bob = app.register("bob").await;
    let hers = belongings(&app, &ada).await;
    let before = dump(&app).await;
    let mut routes = vec![
        (Method::GET, ada.path(""), Value::Null),
        (Method::PATCH, ada.path(""), json!({"name": "taken over"})),
        (
            Method::PATCH,
            ada.path("/budget"),
            json!({"monthlyBudgetCents": 1}),
        ),
        (Method::GET, ada.path("/costs"), Value::Null),
    ];
    for (route, id) in &hers {
        routes.push((Method::GET, ada.path(&format!("/{route}")), Value::Null));
        routes.push((Method::POST, ada.path(&format!("/{route}")), json!({"name": "x"})));
        routes.extend(item_routes(route, &ada.path(&format!("/{route}/{id}"))));
    }
    for (method, path, body) in routes {
        let body = if method == Method::POST { json!({}) } else { body };
        let answer = app.call(method.clone(), &path, &bob.token, &body).await;
        assert_eq!(answer.problem().0, 404, "{method} {path}");
    }
    assert_eq!(dump(&app).await, before);
}

#[tokio::test]
async fn ti_02_another_workspaces_things_are_404_under_ones_own() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let bob = app.register("bob").await;
    let hers = belongings(&app, &ada).await;
    let before = dump(&app).await;
    for (route, id) in &hers {
        for (method, path, body) in item_routes(route, &bob.path(&format!("/{route}/{id}"))) {
            let answer = app.call(method.clone(), &path, &bob.token, &body).await;
            assert_eq!(answer.problem().0, 404, "{method} {path}");
        }
        let list = app.get(&bob.path(&format!("/{route}")), &bob.token).await;
        assert_eq!(list.body["data"], json!([]), "{route}");
    }
    assert_eq!(dump(&app).await, before);
}

#[tokio::test]
async fn roles_decide_and_are_read_from_the_database() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let hers = belongings(&app, &ada).await;
    let reads = ["", "/apis", "/keys", "/rules", "/costs"];
    for (role, members_write, admins_write) in [
        ("OWNER", true, true),
        ("ADMIN", true, true),
        ("MEMBER", true, false),
        ("VIEWER", false, false),
    ] {
        sqlx::query("UPDATE membership SET role = $1")
            .bind(role)
            .execute(&app.db)
            .await
            .unwrap();
        for path in reads {
            assert_eq!(
                app.get(&ada.path(path), &ada.token).await.status,
                StatusCode::OK,
                "{role} {path}"
            );
        }
        let member_routes = [
            (
                Method::PATCH,
                format!("/apis/{}", hers[0].1),
                json!({"name": "x"}),
            ),
            (
                Method::PATCH,
                format!("/keys/{}", hers[1].1),
                json!({"name": "x"}),
            ),
            (
                Method::PATCH,
                format!("/rules/{}", hers[2].1),
                json!({"name": "x"}),
            ),
            (Method::POST, "/keys".to_owned(), json!({"name": "x"})),
        ];
        for (method, path, body) in member_routes {
            let answer = app.call(method, &ada.path(&path), &ada.token, &body).await;
            assert_eq!(
                answer.status != StatusCode::FORBIDDEN,
                members_write,
                "{role} {path} {answer:?}"
            );
            assert!(
                answer.status.is_success() == members_write,
                "{role} {path} {answer:?}"
            );
        }
        let admin_routes = [
            (Method::PATCH, "", json!({"name": "x"})),
            (Method::PATCH, "/budget", json!({"monthlyBudgetCents": null})),
            (Method::GET, "/data-planes", Value::Null),
            (Method::POST, "/data-planes", json!({"name": "x"})),
        ];
        for (method, path, body) in admin_routes {
            let answer = app.call(method, &ada.path(path), &ada.token, &body).await;
            assert_eq!(
                answer.status.is_success(),
                admins_write,
                "{role} {path} {answer:?}"
            );
        }
    }
    sqlx::query("DELETE FROM membership")
        .execute(&app.db)
        .await
        .unwrap();
    assert_eq!(
        app.get(&ada.path(""), &ada.token).await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn workspaces_are_made_listed_and_changed() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let made = app
        .post("/api/workspaces", &ada.token, json!({"name": "Team One"}))
        .await;
    assert_eq!(
        (made.status, made.str("/slug"), made.str("/role")),
        (StatusCode::CREATED, "team-one", "OWNER")
    );
    let settings = json!({"timeZone": "UTC", "unpricedModelPolicy": "block", "failureMode": "FAIL_OPEN",
                          "defaultKeyBudget": null});
    assert_eq!(made.body["settings"], settings);
    let list = app.get("/api/workspaces", &ada.token).await;
    assert_eq!(list.body["data"].as_array().unwrap().len(), 2);
    let first = app.get("/api/workspaces?limit=1", &ada.token).await;
    let next = format!("/api/workspaces?limit=1&cursor={}", first.str("/nextCursor"));
    let second = app.get(&next, &ada.token).await;
    let mut ids = [first.str("/data/0/id"), second.str("/data/0/id")];
    let mut wanted = [ada.workspace_id.as_str(), made.str("/id")];
    ids.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(ids, wanted);
    assert_eq!(second.body["nextCursor"], json!(null));
    let taken = app
        .post(
            "/api/workspaces",
            &ada.token,
            json!({"name": "x", "slug": "team-one"}),
        )
        .await;
    assert_eq!(taken.problem(), (409, "conflict".into(), vec!["slug".into()]));
    let taken = app
        .patch(&ada.path(""), &ada.token, json!({"slug": "team-one"}))
        .await;
    assert_eq!(taken.problem(), (409, "conflict".into(), vec!["slug".into()]));

    app.patch(&ada.path("/budget"), &ada.token, json!({"monthlyBudgetCents": 5}))
        .await;
    let change =
        json!({"name": "Renamed", "settings": {"timeZone": "Europe/Berlin", "unpricedModelPolicy": "allow"}});
    let changed = app.patch(&ada.path(""), &ada.token, change).await;
    assert_eq!(changed.str("/name"), "Renamed");
    assert_eq!(changed.str("/settings/timeZone"), "Europe/Berlin");
    assert_eq!(changed.str("/settings/failureMode"), "FAIL_OPEN");
    let (version, _) = app.feed().await;
    let fed: (i64, i64) = sqlx::query_as(
        "SELECT w.feed_version, b.feed_version FROM workspace w JOIN budget b ON b.workspace_id = w.id",
    )
    .fetch_one(&app.db)
    .await
    .unwrap();
    assert_eq!(
        fed,
        (version, version),
        "the budget's months follow the time zone"
    );
    for (body, field) in [
        (
            json!({"settings": {"timeZone": "Mars/Olympus"}}),
            "settings.timeZone",
        ),
        (
            json!({"settings": {"failureMode": "BOUNDED_OPEN"}}),
            "settings.failureMode",
        ),
        (
            json!({"settings": {"unpricedModelPolicy": "free"}}),
            "settings.unpricedModelPolicy",
        ),
        (json!({"settings": {"colour": 1}}), "settings.colour"),
        (json!({"role": "OWNER"}), "role"),
        (json!({"createdAt": "x"}), "createdAt"),
        (json!({"name": ""}), "name"),
        (json!({"slug": "A"}), "slug"),
    ] {
        let answer = app.patch(&ada.path(""), &ada.token, body.clone()).await;
        assert_eq!(
            answer.problem(),
            (422, "invalid".to_owned(), vec![field.to_owned()]),
            "{body}"
        );
    }
}

#[tokio::test]
async fn data_plane_tokens_are_shown_once_and_revoked() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let made = app
        .post(&ada.path("/data-planes"), &ada.token, json!({"name": "envoy"}))
        .await;
    let token = made.str("/token").to_owned();
    assert!(token.starts_with("rgdp_") && token.len() == 48, "{made:?}");
    let list = app.get(&ada.path("/data-planes"), &ada.token).await;
    assert!(!list.body.to_string().contains(&token));
    assert_eq!(list.str("/data/0/name"), "envoy");
    let scope: Option<uuid::Uuid> = sqlx::query_scalar("SELECT workspace_id FROM data_plane_token")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(scope.unwrap().to_string(), ada.workspace_id);
    let all = json!({"name": "x", "allWorkspaces": true});
    let refused = app.post(&ada.path("/data-planes"), &ada.token, all).await;
    assert_eq!(
        refused.problem(),
        (422, "invalid".into(), vec!["allWorkspaces".into()])
    );
    let path = ada.path(&format!("/data-planes/{}", made.str("/id")));
    assert_eq!(app.delete(&path, &ada.token).await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.delete(&path, &ada.token).await.status, StatusCode::NOT_FOUND);
    let list = app.get(&ada.path("/data-planes"), &ada.token).await;
    assert!(list.body["data"][0]["revokedAt"].is_string());
}
