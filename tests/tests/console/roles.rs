//! What a role may not do is not offered; a role that changes takes effect.

use crate::{browser, no_complaints, open, stack, visit};
use rateguard_tests::browser::Browser;
use rateguard_tests::scene::{PASSWORD, Scene};
use reqwest::Method;
use serde_json::json;

/// Buttons with their page, and who is offered them.
const BUTTONS: [(&str, &str, &[&str]); 9] = [
    ("/apis", "Add API", &["OWNER", "ADMIN", "MEMBER"]),
    ("/keys", "Create key", &["OWNER", "ADMIN", "MEMBER"]),
    ("/rules", "Add rate limit", &["OWNER", "ADMIN", "MEMBER"]),
    ("/prices", "Set a price", &["OWNER", "ADMIN"]),
    ("/costs", "Change", &["OWNER", "ADMIN"]),
    ("/costs", "Add budget", &["OWNER", "ADMIN"]),
    ("/team", "Invite", &["OWNER", "ADMIN"]),
    ("/settings", "Save", &["OWNER", "ADMIN"]),
    ("/settings", "Delete workspace…", &["OWNER"]),
];

/// A workspace with one of each.
async fn with_things() -> (Scene<'static>, Browser) {
    let (scene, owner) = visit().await;
    scene.flat(stack().await.stub().addr(), "1").await.unwrap();
    scene.key(json!({"name": "Search"})).await.unwrap();
    scene.requests_per_workspace(100).await.unwrap();
    scene.hard_budget(json!(1000)).await.unwrap();
    (scene, owner)
}

fn email_of(scene: &Scene<'_>, role: &str) -> String {
    format!("{}-{}@example.com", role.to_lowercase(), scene.workspace_id)
}

/// A browser of somebody new, who has accepted an invitation as `role`.
async fn joined(scene: &Scene<'_>, role: &str) -> Browser {
    let email = email_of(scene, role);
    let body = json!({"email": email, "role": role});
    let invitation = scene.rest(Method::POST, "/invitations", &body).await.unwrap();
    let (_, token) = invitation["acceptUrl"].as_str().unwrap().split_once('#').unwrap();
    let guest = browser().await;
    guest.open(&format!("/accept-invitation#{token}")).await.unwrap();
    guest.fill("#f-name", "Grace").await.unwrap();
    guest.fill("#f-password", PASSWORD).await.unwrap();
    guest.press("Join").await.unwrap();
    guest.is_at("/overview").await.unwrap();
    guest
}

/// Every button is there or not, as the role has it.
async fn is_offered(browser: &Browser, role: &str) {
    for (page, button, roles) in BUTTONS {
        open(browser, page).await;
        // Of a form that is not dirty it is there and cannot be pressed.
        let there = "return [...document.querySelectorAll('main button, main a')]
            .some(one => one.innerText.trim().startsWith(arguments[0]))";
        let there = browser.run(there, &[json!(button)]).await.unwrap();
        assert_eq!(there, json!(roles.contains(&role)), "{role}: {button} at {page}");
    }
    for page in ["/audit", "/data-planes"] {
        open(browser, page).await;
        let refused = browser
            .run(
                "return document.body.innerText.includes('Not for your role')",
                &[],
            )
            .await
            .unwrap();
        assert_eq!(
            refused,
            json!(!["OWNER", "ADMIN"].contains(&role)),
            "{role}: {page}"
        );
    }
}

#[tokio::test]
async fn an_owner_and_an_admin_are_offered_what_is_theirs() {
    let (scene, owner) = with_things().await;
    is_offered(&owner, "OWNER").await;
    let admin = joined(&scene, "ADMIN").await;
    is_offered(&admin, "ADMIN").await;
    no_complaints(&owner).await;
    no_complaints(&admin).await;
}

#[tokio::test]
async fn a_member_writes_and_a_viewer_reads() {
    let (scene, _owner) = with_things().await;
    let member = joined(&scene, "MEMBER").await;
    is_offered(&member, "MEMBER").await;
    no_complaints(&member).await;

    let viewer = joined(&scene, "VIEWER").await;
    is_offered(&viewer, "VIEWER").await;
    open(&viewer, "/keys").await;
    viewer.click("td.acts button").await.unwrap();
    viewer
        .sees("document.querySelector('.menu .list')")
        .await
        .unwrap();
    for entry in ["Rotate…", "Suspend", "Revoke…", "Delete…"] {
        assert!(!viewer.offers(entry).await.unwrap(), "{entry}");
    }
    no_complaints(&viewer).await;
}

#[tokio::test]
async fn a_member_gets_another_role_and_is_removed() {
    let (scene, owner) = visit().await;
    let guest = joined(&scene, "VIEWER").await;
    open(&guest, "/apis").await;
    assert!(!guest.offers("Add API").await.unwrap());

    open(&owner, "/team").await;
    owner.press("Actions for Grace").await.unwrap();
    owner.press("Change role…").await.unwrap();
    owner
        .click("dialog[open] input[name=role][value=MEMBER]")
        .await
        .unwrap();
    owner.click("dialog[open] button[type=submit]").await.unwrap();
    owner.reads("The role of Grace is changed").await.unwrap();
    open(&guest, "/apis").await;
    assert!(guest.offers("Add API").await.unwrap());

    open(&owner, "/team").await;
    owner.press("Actions for Grace").await.unwrap();
    owner.press("Remove…").await.unwrap();
    owner
        .fill("#confirm-name", &email_of(&scene, "VIEWER"))
        .await
        .unwrap();
    owner.press("Remove").await.unwrap();
    owner
        .sees("!document.body.innerText.includes('Grace')")
        .await
        .unwrap();
    guest.open("/apis").await.unwrap();
    guest.reads("You are in no workspace").await.unwrap();
    no_complaints(&owner).await;
    no_complaints(&guest).await;
}
