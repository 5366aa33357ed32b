//! Members: roles, reach, the last owner, ownership.

use super::{audited, join};
use crate::support::app::{App, Person};
use axum::http::StatusCode;
use serde_json::json;

fn path(host: &Person, member: &Person) -> String {
    host.path(&format!("/members/{}", member.user_id))
}

#[tokio::test]
async fn members_are_listed_in_pages_and_changed() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let bob = join(&app, &ada, "bob", "VIEWER").await;
    let list = app.get(&ada.path("/members?limit=1"), &bob.token).await;
    assert_eq!(list.body["data"].as_array().unwrap().len(), 1);
    let next = list.str("/nextCursor").to_owned();
    let rest = app
        .get(&ada.path(&format!("/members?cursor={next}")), &bob.token)
        .await;
    let mut emails = [
        list.str("/data/0/email").to_owned(),
        rest.str("/data/0/email").to_owned(),
    ];
    emails.sort();
    assert_eq!(emails, ["ada@example.com", "bob@example.com"]);
    assert_eq!(rest.body["nextCursor"], json!(null));

    let changed = app
        .patch(&path(&ada, &bob), &ada.token, json!({"role": "MEMBER"}))
        .await;
    assert_eq!((changed.status, changed.str("/role")), (StatusCode::OK, "MEMBER"));
    let shown = app.get(&path(&ada, &bob), &bob.token).await;
    assert_eq!(shown.str("/role"), "MEMBER");
    assert!(shown.headers.contains_key("etag"));
    for (body, field) in [
        (json!({"role": "GOD"}), "role"),
        (json!({}), "role"),
        (json!({"role": "VIEWER", "email": "x"}), "email"),
    ] {
        let refused = app.patch(&path(&ada, &bob), &ada.token, body).await;
        assert_eq!(
            refused.problem(),
            (422, "invalid".to_owned(), vec![field.to_owned()])
        );
    }
    let stranger = app.register("eve").await;
    let refused = app
        .patch(&path(&ada, &stranger), &ada.token, json!({"role": "MEMBER"}))
        .await;
    assert_eq!(refused.problem().0, 404);
    assert_eq!(
        app.get(&ada.path("/members"), &stranger.token).await.problem().0,
        404
    );
}

#[tokio::test]
async fn admins_manage_members_up_to_admins_and_others_nobody() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let admin = join(&app, &ada, "adam", "ADMIN").await;
    let peer = join(&app, &ada, "peer", "ADMIN").await;
    let member = join(&app, &ada, "mia", "MEMBER").await;
    let viewer = join(&app, &ada, "vic", "VIEWER").await;
    for (who, whom, role, status) in [
        (&admin, &ada, "MEMBER", 403),
        (&admin, &peer, "OWNER", 403),
        (&admin, &admin, "OWNER", 403),
        (&admin, &viewer, "ADMIN", 200),
        (&admin, &viewer, "VIEWER", 200),
        (&admin, &peer, "MEMBER", 200),
        (&member, &viewer, "MEMBER", 403),
        (&viewer, &viewer, "ADMIN", 403),
        (&ada, &admin, "OWNER", 200),
        (&admin, &admin, "ADMIN", 200),
    ] {
        let answer = app
            .patch(&path(&ada, whom), &who.token, json!({"role": role}))
            .await;
        assert_eq!(answer.status.as_u16(), status, "{role} {answer:?}");
    }
    assert_eq!(app.delete(&path(&ada, &ada), &admin.token).await.problem().0, 403);
    assert_eq!(
        app.delete(&path(&ada, &member), &viewer.token).await.problem().0,
        403
    );
    assert_eq!(
        app.delete(&path(&ada, &viewer), &admin.token).await.status,
        StatusCode::NO_CONTENT
    );
    // Anybody may leave.
    assert_eq!(
        app.delete(&path(&ada, &member), &member.token).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(app.get(&ada.path(""), &member.token).await.problem().0, 404);
    let told = audited(&app).await;
    for action in ["member.update", "member.remove"] {
        assert!(told.iter().any(|a| a == action), "{told:?}");
    }
}

#[tokio::test]
async fn ca_03_the_last_owner_stays() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let conflict = (409, "conflict".to_owned(), vec!["role".to_owned()]);
    let demoted = app
        .patch(&path(&ada, &ada), &ada.token, json!({"role": "ADMIN"}))
        .await;
    assert_eq!(demoted.problem(), conflict);
    assert_eq!(
        app.delete(&path(&ada, &ada), &ada.token).await.problem(),
        conflict
    );
    let same = app
        .patch(&path(&ada, &ada), &ada.token, json!({"role": "OWNER"}))
        .await;
    assert_eq!(same.status, StatusCode::OK);
}

#[tokio::test]
async fn ca_03_of_two_owners_who_go_at_once_one_stays() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let bob = join(&app, &ada, "bob", "OWNER").await;
    let (ada_path, bob_path) = (path(&ada, &ada), path(&ada, &bob));
    let (one, two) = tokio::join!(
        app.delete(&ada_path, &ada.token),
        app.delete(&bob_path, &bob.token)
    );
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 409]);
}

#[tokio::test]
async fn ca_03_of_two_owners_who_demote_each_other_one_stays() {
    for _ in 0..5 {
        let app = App::start().await;
        let ada = app.register("ada").await;
        let bob = join(&app, &ada, "bob", "OWNER").await;
        let (ada_path, bob_path) = (path(&ada, &ada), path(&ada, &bob));
        let (one, two) = tokio::join!(
            app.patch(&bob_path, &ada.token, json!({"role": "VIEWER"})),
            app.patch(&ada_path, &bob.token, json!({"role": "VIEWER"})),
        );
        let mut statuses = [one.status.as_u16(), two.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 403], "the second sees the first: {one:?} {two:?}");
    }
}

#[tokio::test]
async fn ownership_is_transferred_to_a_member() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let bob = join(&app, &ada, "bob", "VIEWER").await;
    let eve = app.register("eve").await;
    let transfer = async |who: &Person, whom: &str| {
        let body = json!({"memberId": whom});
        app.post(&ada.path("/transfer-ownership"), &who.token, body).await
    };
    assert_eq!(transfer(&bob, &bob.user_id).await.problem().0, 403);
    for whom in [&eve.user_id, &ada.user_id, &"x".to_owned()] {
        assert_eq!(transfer(&ada, whom).await.problem().2, ["memberId"]);
    }
    let done = transfer(&ada, &bob.user_id).await;
    assert_eq!((done.status, done.str("/role")), (StatusCode::OK, "OWNER"));
    assert_eq!(app.get(&ada.path(""), &ada.token).await.str("/role"), "ADMIN");
    assert_eq!(transfer(&ada, &bob.user_id).await.problem().0, 403);
    assert!(audited(&app).await.contains(&"workspace.transfer".to_owned()));
}
