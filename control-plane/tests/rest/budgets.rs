//! The collection of budgets, and how it goes with the short form.

use crate::people::join;
use crate::support::app::{App, Person};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

async fn made(app: &App, person: &Person, route: &str, body: Value) -> Value {
    let answer = app.post(&person.path(route), &person.token, body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    answer.body
}

fn id(body: &Value) -> &str {
    body["id"].as_str().unwrap()
}

#[tokio::test]
async fn budgets_of_workspace_api_and_key_are_kept_beside_the_short_form() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let api = json!({"name": "x", "baseUrl": "https://api.openai.test", "authType": "NONE"});
    let api = made(&app, &ada, "/apis", api).await;
    let key = made(&app, &ada, "/keys", json!({"name": "k"})).await;
    let short = json!({"monthlyBudgetCents": 500, "autoShutoff": true});
    let short = app.patch(&ada.path("/budget"), &ada.token, short).await;
    assert_eq!(short.status, StatusCode::OK, "{short:?}");

    let daily = json!({"name": "A day", "window": "DAY", "limitCents": "12.5", "autoShutoff": true});
    let daily = made(&app, &ada, "/budgets", daily).await;
    assert_eq!(daily["subject"], json!({"type": "WORKSPACE"}));
    assert_eq!(daily["failureMode"], "BOUNDED_OPEN");
    assert_eq!(daily["limitCents"], 12.5);
    let of_api = json!({"name": "API", "subject": {"type": "API", "id": api["id"]}, "window": "TOTAL",
                        "limitCents": 1});
    let of_api = made(&app, &ada, "/budgets", of_api).await;
    assert_eq!(
        (&of_api["failureMode"], &of_api["autoShutoff"]),
        (&json!("FAIL_OPEN"), &json!(false))
    );
    let of_key = json!({"name": "Key", "subject": {"type": "KEY", "id": key["id"]}, "window": "HOUR",
                        "limitCents": 1, "autoShutoff": true, "failureMode": "FAIL_CLOSED"});
    let of_key = made(&app, &ada, "/budgets", of_key).await;

    let listed = app.get(&ada.path("/budgets"), &ada.token).await.body;
    let mut windows: Vec<&str> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|budget| budget["window"].as_str().unwrap())
        .collect();
    windows.sort_unstable();
    assert_eq!(windows, ["DAY", "HOUR", "MONTH", "TOTAL"]);
    let query = format!(
        "/budgets?subjectType=KEY&subjectId={}",
        key["id"].as_str().unwrap()
    );
    let listed = app.get(&ada.path(&query), &ada.token).await.body;
    assert_eq!(listed["data"], json!([of_key.clone()]));

    let again = json!({"name": "again", "window": "DAY", "limitCents": 1});
    let again = app.post(&ada.path("/budgets"), &ada.token, again).await;
    assert_eq!(again.problem(), (409, "conflict".into(), vec!["window".into()]));

    let (before, removals) = app.feed().await;
    let path = ada.path(&format!("/budgets/{}", id(&daily)));
    let changed = app
        .patch(&path, &ada.token, json!({"limitCents": 20, "autoShutoff": false}))
        .await;
    assert_eq!(changed.body["limitCents"], 20);
    assert_eq!(changed.body["failureMode"], "FAIL_OPEN", "{changed:?}");
    assert_eq!(app.feed().await, (before + 1, removals));
    assert_eq!(app.delete(&path, &ada.token).await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.get(&path, &ada.token).await.status, StatusCode::NOT_FOUND);
    assert_eq!(app.feed().await, (before + 2, removals + 1));

    // What is gone has no budget.
    for (route, thing) in [("apis", &api), ("keys", &key)] {
        let path = ada.path(&format!("/{route}/{}", id(thing)));
        assert_eq!(app.delete(&path, &ada.token).await.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(
        app.feed().await,
        (before + 4, removals + 5),
        "the API, the key, and the budget of each"
    );
    let listed = app.get(&ada.path("/budgets"), &ada.token).await.body;
    assert_eq!(listed["data"].as_array().unwrap().len(), 1, "{listed}");
}

#[tokio::test]
async fn bad_budgets_name_the_field() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let bob = app.register("bob").await;
    let foreign = made(&app, &bob, "/keys", json!({"name": "k"})).await;
    let budget = |field: &str, value: Value| {
        let mut body = json!({"name": "b", "limitCents": 1});
        body[field] = value;
        body
    };
    for (body, code, field) in [
        (budget("limitCents", json!(0)), "invalid", "limitCents"),
        (budget("limitCents", json!(-1)), "invalid", "limitCents"),
        (budget("limitCents", json!(1e30)), "invalid", "limitCents"),
        (budget("limitCents", json!(null)), "invalid", "limitCents"),
        (budget("name", json!(" ")), "invalid", "name"),
        (budget("window", json!("YEAR")), "invalid", "window"),
        (
            budget("subject", json!({"type": "TAG", "name": "team", "value": "a"})),
            "not_supported",
            "subject.type",
        ),
        (
            budget("subject", json!({"type": "MODEL", "model": "gpt-*"})),
            "not_supported",
            "subject.type",
        ),
        (budget("subject", json!({"type": "KEY"})), "invalid", "subject.id"),
        (
            budget("subject", json!({"type": "KEY", "id": "x"})),
            "invalid",
            "subject.id",
        ),
        (
            budget("subject", json!({"type": "KEY", "id": foreign["id"]})),
            "invalid",
            "subject.id",
        ),
        (
            budget("subject", json!({"type": "API", "id": foreign["id"]})),
            "invalid",
            "subject.id",
        ),
        (
            budget("subject", json!({"type": "WORKSPACE", "id": foreign["id"]})),
            "invalid",
            "subject.id",
        ),
        (budget("thresholds", json!([50])), "not_supported", "thresholds"),
        (budget("topUp", json!({"cents": 5})), "not_supported", "topUp"),
        (
            budget("failureMode", json!("FAIL_CLOSED")),
            "invalid",
            "failureMode",
        ),
        (budget("spent", json!(0)), "invalid", "spent"),
    ] {
        let answer = app.post(&ada.path("/budgets"), &ada.token, body.clone()).await;
        assert_eq!(
            answer.problem(),
            (422, code.to_owned(), vec![field.to_owned()]),
            "{body}"
        );
    }
}

#[tokio::test]
async fn ca_12_a_workspace_has_no_more_than_it_may() {
    let app = App::start_with(|config| {
        config.caps.apis = 1;
        config.caps.keys = 2;
        config.caps.rules = 0;
        config.caps.budgets = 0;
    })
    .await;
    let ada = app.register("ada").await;
    let api = json!({"name": "x", "baseUrl": "https://api.openai.test", "authType": "NONE"});
    let rule = json!({"name": "r", "scopes": [{"type": "PER_KEY"}], "algorithm": "SLIDING_WINDOW",
                      "limit": 1, "windowMs": 1000});
    for (route, body, may) in [
        ("/apis", api, 1),
        ("/keys", json!({"name": "k"}), 2),
        ("/rules", rule, 0),
        ("/budgets", json!({"name": "b", "limitCents": 1}), 0),
    ] {
        for number in 0..=may {
            let mut body = body.clone();
            if route == "/apis" {
                body["slug"] = json!(format!("s{number}"));
            }
            let answer = app.post(&ada.path(route), &ada.token, body).await;
            let expected = if number < may {
                StatusCode::CREATED
            } else {
                StatusCode::CONFLICT
            };
            assert_eq!(answer.status, expected, "{route} {number} {answer:?}");
        }
    }
    let keys = app.get(&ada.path("/keys"), &ada.token).await;
    let first = keys.str("/data/0/id").to_owned();
    app.delete(&ada.path(&format!("/keys/{first}")), &ada.token).await;
    let again = app
        .call(
            Method::POST,
            &ada.path("/keys"),
            &ada.token,
            &json!({"name": "k"}),
        )
        .await;
    assert_eq!(again.status, StatusCode::CREATED, "a deleted key makes room");
}

#[tokio::test]
async fn ca_12_creations_have_a_pace_of_each_workspace() {
    let app = App::start_with(|config| config.caps.creations_per_minute = 3).await;
    let [ada, bob] = [app.register("ada").await, app.register("bob").await];
    let create = async |person: &Person| {
        app.post(&person.path("/keys"), &person.token, json!({"name": "k"}))
            .await
    };
    for _ in 0..3 {
        assert_eq!(create(&ada).await.status, StatusCode::CREATED);
    }
    let refused = create(&ada).await;
    assert_eq!(refused.problem().0, 429);
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    assert_eq!(
        create(&bob).await.status,
        StatusCode::CREATED,
        "another workspace is not held back"
    );
    let keys = app.get(&ada.path("/keys"), &ada.token).await.body;
    assert_eq!(keys["data"].as_array().unwrap().len(), 3);
    // Outside of a workspace it is the person who is counted.
    for number in 0..4 {
        let made = app
            .post("/api/workspaces", &bob.token, json!({"name": "w"}))
            .await;
        let expected = if number < 3 { 201 } else { 429 };
        assert_eq!(made.status.as_u16(), expected, "{number}");
    }
}

#[tokio::test]
async fn ca_02_a_members_keys_have_the_budget_that_admins_set_for_new_keys() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let bob = join(&app, &ada, "bob", "MEMBER").await;
    let before = made(&app, &bob_in(&ada, &bob), "/keys", json!({"name": "before"})).await;
    let wanted = json!({"limitCents": 2.5, "window": "DAY", "autoShutoff": true});
    let settings = json!({"settings": {"defaultKeyBudget": wanted}});
    assert_eq!(
        app.patch(&ada.path(""), &bob.token, settings.clone())
            .await
            .status,
        StatusCode::FORBIDDEN
    );
    let set = app.patch(&ada.path(""), &ada.token, settings).await;
    assert_eq!(set.body["settings"]["defaultKeyBudget"], wanted, "{set:?}");

    let key = made(&app, &bob_in(&ada, &bob), "/keys", json!({"name": "after"})).await;
    let listed = app.get(&ada.path("/budgets"), &bob.token).await.body;
    let [budget] = listed["data"].as_array().unwrap().as_slice() else {
        panic!("{listed}")
    };
    assert_eq!(
        budget["subject"],
        json!({"type": "KEY", "id": key["id"]}),
        "not of {before}"
    );
    let shown = ["limitCents", "window", "autoShutoff", "failureMode"].map(|name| budget[name].clone());
    assert_eq!(json!(shown), json!([2.5, "DAY", true, "BOUNDED_OPEN"]));
    let budget = ada.path(&format!("/budgets/{}", id(budget)));
    let raise = app.patch(&budget, &bob.token, json!({"limitCents": 1000})).await;
    assert_eq!(raise.status, StatusCode::FORBIDDEN);
    assert_eq!(
        app.delete(&budget, &bob.token).await.status,
        StatusCode::FORBIDDEN
    );

    let bad = json!({"settings": {"defaultKeyBudget": {"limitCents": 0}}});
    let refused = app.patch(&ada.path(""), &ada.token, bad).await;
    let field = "settings.defaultKeyBudget.limitCents".to_owned();
    assert_eq!(refused.problem(), (422, "invalid".to_owned(), vec![field]));
    let none = json!({"settings": {"defaultKeyBudget": null}});
    let none = app.patch(&ada.path(""), &ada.token, none).await;
    assert_eq!(none.body["settings"]["defaultKeyBudget"], json!(null));
    made(&app, &ada, "/keys", json!({"name": "free"})).await;
    let listed = app.get(&ada.path("/budgets"), &ada.token).await.body;
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
}

/// Bob, in Ada's workspace.
fn bob_in(ada: &Person, bob: &Person) -> Person {
    Person {
        workspace_id: ada.workspace_id.clone(),
        ..bob.clone()
    }
}
