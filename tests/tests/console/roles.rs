//! What a role may not do is not offered.

use crate::{browser, no_complaints, open, visit};
use rateguard_tests::scene::PASSWORD;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn a_viewer_reads_and_changes_nothing() {
    let (scene, owner) = visit().await;
    scene.flat(scene.stack.stub().addr(), "1").await.unwrap();
    scene.key(json!({"name": "Search"})).await.unwrap();
    scene.requests_per_workspace(100).await.unwrap();
    scene.hard_budget(json!(1000)).await.unwrap();
    let body = json!({"email": format!("viewer-{}@example.com", std::process::id()), "role": "VIEWER"});
    let invitation = scene.rest(Method::POST, "/invitations", &body).await.unwrap();
    let (_, token) = invitation["acceptUrl"].as_str().unwrap().split_once('#').unwrap();

    let viewer = browser().await;
    viewer.open(&format!("/accept-invitation#{token}")).await.unwrap();
    viewer.fill("#f-name", "Grace").await.unwrap();
    viewer.fill("#f-password", PASSWORD).await.unwrap();
    viewer.press("Join").await.unwrap();
    viewer.is_at("/overview").await.unwrap();

    let buttons = [
        ("/apis", "Add API"),
        ("/keys", "Create key"),
        ("/rules", "Add rate limit"),
        ("/costs", "Change"),
        ("/costs", "Add budget"),
        ("/team", "Invite"),
    ];
    for (page, button) in buttons {
        open(&owner, page).await;
        assert!(owner.offers(button).await.unwrap(), "the owner has no {button}");
        open(&viewer, page).await;
        assert!(!viewer.offers(button).await.unwrap(), "the viewer has {button}");
    }
    open(&viewer, "/keys").await;
    viewer.click("td.acts button").await.unwrap();
    viewer
        .sees("document.querySelector('.menu .list')")
        .await
        .unwrap();
    for entry in ["Rotate…", "Revoke…", "Delete…"] {
        assert!(!viewer.offers(entry).await.unwrap(), "{entry}");
    }
    for page in ["/audit", "/data-planes"] {
        viewer.open(page).await.unwrap();
        viewer.reads("Not for your role").await.unwrap();
    }
    no_complaints(&viewer).await;
    no_complaints(&owner).await;
}
