//! What owners and admins look after: budgets, members, tokens, settings, workspaces, passwords.

use crate::{delete_from_menu, faulty, from_menu, loaded, no_complaints, open, sign_in_with, visit};
use rateguard_tests::scene::PASSWORD;

#[tokio::test]
async fn a_budget_is_made_changed_and_deleted() {
    let (_scene, browser) = visit().await;
    open(&browser, "/costs").await;
    browser.press("Add budget").await.unwrap();
    browser.fill("#f-name", "Daily").await.unwrap();
    browser.fill("#f-limitCents", "much").await.unwrap();
    browser.press("Save budget").await.unwrap();
    faulty(&browser, "limitCents").await;
    browser.fill("#f-limitCents", "2").await.unwrap();
    browser.fill("#f-name", "").await.unwrap();
    browser.press("Save budget").await.unwrap();
    faulty(&browser, "name").await;
    browser.fill("#f-name", "Daily").await.unwrap();
    browser.press("Save budget").await.unwrap();
    browser.reads("of $2.00").await.unwrap();

    from_menu(&browser, "Edit").await;
    browser.fill("#f-limitCents", "3.50").await.unwrap();
    browser.press("Save budget").await.unwrap();
    browser.reads("of $3.50").await.unwrap();

    delete_from_menu(&browser, "Delete…", "Daily", "Delete budget").await;
    browser
        .sees("!document.querySelector('.grid-cards .meter')")
        .await
        .unwrap();
    no_complaints(&browser).await;
}

#[tokio::test]
async fn a_price_is_set_changed_and_deleted() {
    let (_scene, browser) = visit().await;
    open(&browser, "/prices").await;
    browser.press("Set a price").await.unwrap();
    browser.fill("#f-model", "acme-*").await.unwrap();
    browser
        .fill("#f-prices-inputCostPer1kTokens", "cheap")
        .await
        .unwrap();
    browser
        .fill("#f-prices-outputCostPer1kTokens", "8")
        .await
        .unwrap();
    browser.press("Save price").await.unwrap();
    faulty(&browser, "prices-inputCostPer1kTokens").await;
    browser
        .fill("#f-prices-inputCostPer1kTokens", "2.50")
        .await
        .unwrap();
    browser.fill("#f-model", "").await.unwrap();
    browser.press("Save price").await.unwrap();
    faulty(&browser, "model").await;
    browser.fill("#f-model", "acme-*").await.unwrap();
    browser.press("Save price").await.unwrap();
    browser.reads("$2.50").await.unwrap();

    from_menu(&browser, "Edit").await;
    browser
        .fill("#f-prices-inputCostPer1kTokens", "3.25")
        .await
        .unwrap();
    browser.press("Save price").await.unwrap();
    browser.reads("$3.25").await.unwrap();
    delete_from_menu(&browser, "Delete…", "acme-*", "Delete price").await;
    browser
        .sees("!document.body.innerText.includes('$3.25')")
        .await
        .unwrap();
    no_complaints(&browser).await;
}

#[tokio::test]
async fn an_invitation_is_made_and_taken_back() {
    let (_scene, browser) = visit().await;
    open(&browser, "/team").await;
    browser.press("Invite").await.unwrap();
    browser.fill("#f-email", "nobody").await.unwrap();
    browser.press("Invite").await.unwrap();
    faulty(&browser, "email").await;
    browser.fill("#f-email", "grace@example.com").await.unwrap();
    browser.press("Invite").await.unwrap();
    browser
        .sees("document.querySelector('.copy.loud code')?.innerText.includes('/accept-invitation#')")
        .await
        .unwrap();
    browser.press("I have kept it").await.unwrap();
    browser.reads("grace@example.com").await.unwrap();
    browser.press("Take back").await.unwrap();
    browser.reads("Taken back").await.unwrap();
    no_complaints(&browser).await;
}

#[tokio::test]
async fn a_data_planes_token_is_shown_once_and_revoked() {
    let (_scene, browser) = visit().await;
    open(&browser, "/data-planes").await;
    browser.press("Create token").await.unwrap();
    browser.press("Create token").await.unwrap();
    faulty(&browser, "name").await;
    browser.fill("#f-name", "Frankfurt").await.unwrap();
    browser.press("Create token").await.unwrap();
    keep_secret(&browser).await;
    browser.reads("Frankfurt").await.unwrap();
    browser.press("Revoke…").await.unwrap();
    browser.fill("#confirm-name", "Frankfurt").await.unwrap();
    browser.press("Revoke token").await.unwrap();
    browser.reads("Revoked").await.unwrap();
    no_complaints(&browser).await;
}

#[tokio::test]
async fn an_access_token_is_shown_once_and_revoked() {
    let (_scene, browser) = visit().await;
    open(&browser, "/settings").await;
    browser.press("Access tokens").await.unwrap();
    browser.press("Create access token").await.unwrap();
    browser.press("Create access token").await.unwrap();
    faulty(&browser, "name").await;
    browser.fill("#f-name", "Deployment").await.unwrap();
    browser.press("Create access token").await.unwrap();
    keep_secret(&browser).await;
    browser.reads("Deployment").await.unwrap();
    browser.press("Revoke").await.unwrap();
    browser.fill("#confirm-name", "Deployment").await.unwrap();
    browser.press("Revoke").await.unwrap();
    browser.reads("Revoked").await.unwrap();
    no_complaints(&browser).await;
}

#[tokio::test]
async fn the_settings_are_saved_and_the_workspace_is_deleted() {
    let (_scene, browser) = visit().await;
    open(&browser, "/settings").await;
    browser.fill("#f-slug", "Not A Slug").await.unwrap();
    browser.press("Save").await.unwrap();
    faulty(&browser, "slug").await;
    let slug = format!("renamed-{}", std::process::id());
    browser.fill("#f-slug", &slug).await.unwrap();
    browser.fill("#f-name", "Renamed").await.unwrap();
    browser
        .choose("#f-settings-timeZone", "Europe/Berlin")
        .await
        .unwrap();
    browser.press("Save").await.unwrap();
    browser.reads("The settings are saved").await.unwrap();
    open(&browser, "/settings").await;
    browser
        .sees("document.querySelector('#f-settings-timeZone').value === 'Europe/Berlin'")
        .await
        .unwrap();

    browser.click(".sidebar .menu button").await.unwrap();
    browser.press("New workspace").await.unwrap();
    browser.press("Create workspace").await.unwrap();
    faulty(&browser, "name").await;
    browser.fill("#f-name", "Second").await.unwrap();
    browser.press("Create workspace").await.unwrap();
    browser.is_at("/welcome").await.unwrap();
    browser
        .sees("document.querySelector('.sidebar').innerText.includes('Second')")
        .await
        .unwrap();

    browser.click(".sidebar .menu button").await.unwrap();
    browser.press("Renamed").await.unwrap();
    browser
        .sees("document.querySelector('.sidebar').innerText.includes('Renamed')")
        .await
        .unwrap();
    open(&browser, "/settings").await;
    browser.press("Delete workspace…").await.unwrap();
    browser.fill("#confirm-name", &slug).await.unwrap();
    browser.press("Delete workspace").await.unwrap();
    browser.is_at("/overview").await.unwrap();
    browser
        .sees("document.querySelector('.sidebar').innerText.includes('Second')")
        .await
        .unwrap();
    no_complaints(&browser).await;
}

#[tokio::test]
async fn a_password_is_changed() {
    let (scene, browser) = visit().await;
    open(&browser, "/profile").await;
    browser.reads("This one").await.unwrap();
    browser
        .fill("#f-currentPassword", "not the password")
        .await
        .unwrap();
    browser
        .fill("#f-newPassword", "another battery staple")
        .await
        .unwrap();
    browser.press("Change password").await.unwrap();
    faulty(&browser, "currentPassword").await;
    browser.fill("#f-currentPassword", PASSWORD).await.unwrap();
    browser.press("Change password").await.unwrap();
    browser.reads("Your password is changed").await.unwrap();

    browser.press("Sign out").await.unwrap();
    browser.is_at("/login").await.unwrap();
    sign_in_with(&browser, &scene.email, "another battery staple").await;
    browser.sees("location.pathname !== '/login'").await.unwrap();
    loaded(&browser).await;
    no_complaints(&browser).await;
}

/// The dialog with a secret: closed, the page does not know it any more.
async fn keep_secret(browser: &rateguard_tests::browser::Browser) {
    browser
        .sees("document.querySelector('dialog[open] .copy.loud code')")
        .await
        .unwrap();
    let secret = browser.text_of(".copy.loud code").await.unwrap();
    assert!(secret.len() > 20, "{secret}");
    browser.press("I have kept it").await.unwrap();
    browser
        .sees("!document.querySelector('dialog[open]')")
        .await
        .unwrap();
    let source = browser.source().await.unwrap();
    assert!(!source.contains(&secret));
}
