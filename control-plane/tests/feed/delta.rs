//! What polls tell: everything, or what changed since the client's version.

use crate::replica::{Replica, after, filter, make_api, make_key, make_rule, operator_token};
use crate::support::app::App;
use rateguard_control_plane::db::feed::next_version;
use rateguard_control_plane::db::transaction;
use rateguard_wire::v1::{KeyState, PollRequest, ResourceType};
use serde_json::json;

#[tokio::test]
async fn a_first_poll_gets_everything_and_the_next_one_nothing() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    make_api(&app, &ada, "openai").await;
    make_key(&app, &ada).await;
    make_rule(&app, &ada).await;
    app.patch(
        &ada.path("/budget"),
        &ada.token,
        json!({"monthlyBudgetCents": 10_000, "autoShutoff": true}),
    )
    .await;
    let token = operator_token(&app).await;
    let replica = Replica::start(&app).await;
    let all = replica.poll(&token, filter()).await;
    assert!(all.full);
    let counts = [
        all.workspaces.len(),
        all.apis.len(),
        all.keys.len(),
        all.rules.len(),
        all.budgets.len(),
    ];
    assert_eq!(counts, [1; 5]);
    assert_eq!(all.now_ms, crate::support::app::START_MS);
    let next = replica.poll(&token, after(&all)).await;
    assert_eq!((next.full, next.version.as_str()), (false, all.version.as_str()));
    assert_ne!(next.nonce, all.nonce);
    assert_eq!(
        (
            next.workspaces.len(),
            next.apis.len(),
            next.keys.len(),
            next.removals.len()
        ),
        (0, 0, 0, 0)
    );
}

#[tokio::test]
async fn a_delta_has_what_changed_and_what_left() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let api = make_api(&app, &ada, "openai").await;
    let key = make_key(&app, &ada).await;
    let other = make_key(&app, &ada).await;
    let rule = make_rule(&app, &ada).await;
    let token = operator_token(&app).await;
    let replica = Replica::start(&app).await;
    let all = replica.poll(&token, filter()).await;

    app.post(&ada.path(&format!("/keys/{key}/revoke")), &ada.token, json!({}))
        .await;
    app.delete(&ada.path(&format!("/keys/{other}")), &ada.token).await;
    app.patch(
        &ada.path(&format!("/rules/{rule}")),
        &ada.token,
        json!({"enabled": false}),
    )
    .await;
    replica.caught_up(&app).await;
    let delta = replica.poll(&token, after(&all)).await;
    assert!(!delta.full);
    let states: Vec<_> = delta
        .keys
        .iter()
        .map(|key| (key.id.clone(), key.state()))
        .collect();
    assert_eq!(states, [(id(&key), KeyState::Revoked)]);
    let mut gone: Vec<_> = delta
        .removals
        .iter()
        .map(|gone| (gone.r#type(), gone.id.clone()))
        .collect();
    gone.sort();
    assert_eq!(
        gone,
        [(ResourceType::Key, id(&other)), (ResourceType::Rule, id(&rule))]
    );
    assert_eq!((delta.apis.len(), delta.workspaces.len()), (0, 0));

    app.patch(
        &ada.path(&format!("/rules/{rule}")),
        &ada.token,
        json!({"enabled": true}),
    )
    .await;
    app.delete(&ada.path(&format!("/apis/{api}")), &ada.token).await;
    replica.caught_up(&app).await;
    let delta = replica.poll(&token, after(&delta)).await;
    assert_eq!(
        delta.rules.iter().map(|rule| rule.id.clone()).collect::<Vec<_>>(),
        [id(&rule)]
    );
    assert_eq!(
        delta
            .removals
            .iter()
            .map(|gone| gone.id.clone())
            .collect::<Vec<_>>(),
        [id(&api)]
    );
}

fn id(text: &str) -> Vec<u8> {
    text.parse::<uuid::Uuid>().unwrap().as_bytes().to_vec()
}

#[tokio::test]
async fn a_rotated_key_keeps_its_id_and_has_both_secrets() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let key = make_key(&app, &ada).await;
    let token = operator_token(&app).await;
    let replica = Replica::start(&app).await;
    let all = replica.poll(&token, filter()).await;
    let rotated = app
        .post(
            &ada.path(&format!("/keys/{key}/rotate")),
            &ada.token,
            json!({"overlapSeconds": 60}),
        )
        .await;
    assert!(rotated.status.is_success(), "{rotated:?}");
    replica.caught_up(&app).await;
    let delta = replica.poll(&token, after(&all)).await;
    let [rotated] = delta.keys.as_slice() else {
        panic!("{:?}", delta.keys)
    };
    let ends: Vec<i64> = rotated.secrets.iter().map(|secret| secret.not_after_ms).collect();
    assert_eq!(rotated.secrets.len(), 2);
    assert!(
        ends.contains(&0) && ends.contains(&(crate::support::app::START_MS + 60_000)),
        "{ends:?}"
    );
}

#[tokio::test]
async fn budgets_follow_their_workspaces_time_zone() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    app.patch(
        &ada.path("/budget"),
        &ada.token,
        json!({"monthlyBudgetCents": 10_000}),
    )
    .await;
    let token = operator_token(&app).await;
    let replica = Replica::start(&app).await;
    let all = replica.poll(&token, filter()).await;
    let moved = app
        .patch(
            &ada.path(""),
            &ada.token,
            json!({"settings": {"timeZone": "Asia/Tokyo"}}),
        )
        .await;
    assert!(moved.status.is_success(), "{moved:?}");
    replica.caught_up(&app).await;
    let delta = replica.poll(&token, after(&all)).await;
    assert!(format!("{:?}", delta.budgets).contains("Asia/Tokyo"), "{delta:?}");
}

#[tokio::test]
async fn unknown_versions_and_other_epochs_start_over() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let token = operator_token(&app).await;
    let replica = Replica::start(&app).await;
    let all = replica.poll(&token, filter()).await;
    let (epoch, _) = all.version.split_once('.').unwrap();
    for version in ["", "garbage", "0123456789abcdef.1", &format!("{epoch}.x"), epoch] {
        let request = PollRequest {
            version: version.into(),
            ..filter()
        };
        assert!(replica.poll(&token, request).await.full, "{version}");
    }
    sqlx::query("UPDATE feed_version SET epoch = gen_random_uuid()")
        .execute(&app.db)
        .await
        .unwrap();
    make_key(&app, &ada).await;
    replica.caught_up(&app).await;
    let over = replica.poll(&token, after(&all)).await;
    assert!(over.full);
    assert_ne!(over.version.split_once('.').unwrap().0, epoch);
    assert_eq!(over.keys.len(), 1);
}

#[tokio::test]
async fn a_restarted_program_still_tells_deltas() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let key = make_key(&app, &ada).await;
    let token = operator_token(&app).await;
    let all = Replica::start(&app).await.poll(&token, filter()).await;
    app.delete(&ada.path(&format!("/keys/{key}")), &ada.token).await;
    let added = make_key(&app, &ada).await;
    let delta = Replica::start(&app).await.poll(&token, after(&all)).await;
    assert!(!delta.full);
    assert_eq!(
        delta
            .removals
            .iter()
            .map(|gone| gone.id.clone())
            .collect::<Vec<_>>(),
        [id(&key)]
    );
    assert_eq!(
        delta.keys.iter().map(|key| key.id.clone()).collect::<Vec<_>>(),
        [id(&added)]
    );
}

#[tokio::test]
async fn pruned_removals_make_old_clients_start_over() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let [first, second] = [make_key(&app, &ada).await, make_key(&app, &ada).await];
    let token = operator_token(&app).await;
    let before = Replica::start(&app).await.poll(&token, filter()).await;
    app.delete(&ada.path(&format!("/keys/{first}")), &ada.token).await;
    let between = Replica::start(&app).await.poll(&token, after(&before)).await;
    app.delete(&ada.path(&format!("/keys/{second}")), &ada.token)
        .await;
    let later = chrono::DateTime::from_timestamp_millis(crate::support::app::START_MS + 1).unwrap();
    let pruned = rateguard_control_plane::db::snapshot::prune_removals(&app.db, later)
        .await
        .unwrap();
    assert_eq!(pruned, 1, "the newest stays");
    let replica = Replica::start(&app).await;
    assert!(replica.poll(&token, after(&before)).await.full);
    assert!(!replica.poll(&token, after(&between)).await.full);
}

#[tokio::test]
async fn a_late_commit_is_not_missed() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let token = operator_token(&app).await;
    let replica = Replica::start(&app).await;
    let before = replica.poll(&token, filter()).await;
    // The first transaction has its version and does not commit; the second must not become visible before it.
    let mut first = transaction::begin(&app.db).await.unwrap();
    let version = next_version(&mut first).await.unwrap();
    let second = tokio::spawn({
        let db = app.db.clone();
        async move {
            let mut second = transaction::begin(&db).await.unwrap();
            let version = next_version(&mut second).await.unwrap();
            sqlx::query("UPDATE workspace SET slug = 'second', feed_version = $1")
                .bind(version)
                .execute(&mut *second)
                .await
                .unwrap();
            second.commit().await.unwrap();
            version
        }
    });
    let waits = "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock'";
    crate::replica::eventually("the second waits for the first", || async {
        let waiting: i64 = sqlx::query_scalar(waits).fetch_one(&app.db).await.unwrap();
        waiting == 1
    })
    .await;
    assert_eq!(replica.poll(&token, after(&before)).await.version, before.version);
    sqlx::query("UPDATE workspace SET name = 'first', slug = 'first', feed_version = $1 WHERE id = $2::uuid")
        .bind(version)
        .bind(&ada.workspace_id)
        .execute(&mut *first)
        .await
        .unwrap();
    first.commit().await.unwrap();
    assert_eq!(second.await.unwrap(), version + 1);
    replica.caught_up(&app).await;
    let delta = replica.poll(&token, after(&before)).await;
    assert_eq!(
        delta
            .workspaces
            .iter()
            .map(|w| w.slug.as_str())
            .collect::<Vec<_>>(),
        ["second"]
    );
}
