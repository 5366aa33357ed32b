//! Making, changing and deleting, with input that the API refuses: its fault stands at the field.

use crate::{delete_from_menu, faulty, from_menu, loaded, no_complaints, open, stack, visit};

#[tokio::test]
async fn an_api_is_made_changed_and_deleted() {
    let (_scene, browser) = visit().await;
    open(&browser, "/apis/new").await;
    browser.click("input[value=custom]").await.unwrap();
    browser.fill("#f-name", "Payments").await.unwrap();
    browser.fill("#f-slug", "Not A Slug").await.unwrap();
    browser.fill("#f-baseUrl", "ftp://example.com").await.unwrap();
    browser.choose("#f-authType", "NONE").await.unwrap();
    browser
        .click("input[name=cost][value=PER_REQUEST]")
        .await
        .unwrap();
    browser.fill("#f-perRequest", "0.01").await.unwrap();
    browser.press("Add API").await.unwrap();
    faulty(&browser, "slug").await;
    faulty(&browser, "baseUrl").await;
    browser.fill("#f-slug", "pay").await.unwrap();
    let upstream = format!("http://{}", stack().await.stub().addr());
    browser.fill("#f-baseUrl", &upstream).await.unwrap();
    browser.press("Add API").await.unwrap();
    browser.sees("location.pathname !== '/apis/new'").await.unwrap();

    open(&browser, "/apis").await;
    browser.press("Payments").await.unwrap();
    loaded(&browser).await;
    browser.fill("#f-timeoutMs", "0").await.unwrap();
    browser.press("Save").await.unwrap();
    faulty(&browser, "timeoutMs").await;
    browser.fill("#f-timeoutMs", "5000").await.unwrap();
    browser.fill("#f-name", "Payments 2").await.unwrap();
    browser.press("Save").await.unwrap();
    browser.reads("saved").await.unwrap();

    open(&browser, "/apis").await;
    browser.reads("Payments 2").await.unwrap();
    delete_from_menu(&browser, "Delete…", "pay", "Delete API").await;
    browser.reads("No API yet").await.unwrap();
    no_complaints(&browser).await;
}

#[tokio::test]
async fn a_rate_limit_is_made_changed_and_deleted() {
    let (_scene, browser) = visit().await;
    open(&browser, "/rules/new").await;
    browser.fill("#f-name", "Few").await.unwrap();
    browser.fill("#f-limit", "none").await.unwrap();
    browser.press("Add rate limit").await.unwrap();
    faulty(&browser, "limit").await;
    browser.fill("#f-limit", "5").await.unwrap();
    browser.fill("#f-name", "").await.unwrap();
    browser.press("Add rate limit").await.unwrap();
    faulty(&browser, "name").await;
    browser.fill("#f-name", "Few").await.unwrap();
    browser.press("Add rate limit").await.unwrap();
    browser.is_at("/rules").await.unwrap();

    browser.press("Few").await.unwrap();
    loaded(&browser).await;
    browser.fill("#f-limit", "7").await.unwrap();
    browser.press("Save").await.unwrap();
    browser.reads("saved").await.unwrap();

    open(&browser, "/rules").await;
    browser.reads("7").await.unwrap();
    delete_from_menu(&browser, "Delete…", "Few", "Delete rate limit").await;
    browser.reads("No rate limit yet").await.unwrap();
    no_complaints(&browser).await;
}

#[tokio::test]
async fn a_key_is_shown_once_and_revoked() {
    let (_scene, browser) = visit().await;
    open(&browser, "/keys/new").await;
    browser.fill("#f-name", "Search").await.unwrap();
    browser.fill("#f-tags", "no pair").await.unwrap();
    browser.press("Create key").await.unwrap();
    faulty(&browser, "tags").await;
    browser.fill("#f-tags", "team=search").await.unwrap();
    browser.fill("#f-allowedModels", "ü").await.unwrap();
    browser.press("Create key").await.unwrap();
    faulty(&browser, "allowedModels").await;
    browser.fill("#f-allowedModels", "gpt-*").await.unwrap();
    browser.press("Create key").await.unwrap();
    browser
        .sees("document.querySelector('dialog[open] .copy.loud code')")
        .await
        .unwrap();
    let secret = browser.text_of(".copy.loud code").await.unwrap();
    browser.press("I have kept it").await.unwrap();
    browser.is_at("/keys").await.unwrap();
    open(&browser, "/keys").await;
    browser.reads("team=search").await.unwrap();
    let source = browser.source().await.unwrap();
    assert!(secret.starts_with("rg_live_") && !source.contains(&secret));

    browser.press("Search").await.unwrap();
    loaded(&browser).await;
    browser.fill("#f-name", "").await.unwrap();
    browser.press("Save").await.unwrap();
    faulty(&browser, "name").await;
    browser.fill("#f-name", "Search 2").await.unwrap();
    browser.press("Save").await.unwrap();
    browser.reads("saved").await.unwrap();

    open(&browser, "/keys").await;
    from_menu(&browser, "Suspend").await;
    browser.reads("Suspended").await.unwrap();
    from_menu(&browser, "Rotate…").await;
    browser.press("Rotate key").await.unwrap();
    browser
        .sees("document.querySelector('dialog[open] .copy.loud code')")
        .await
        .unwrap();
    assert_ne!(browser.text_of(".copy.loud code").await.unwrap(), secret);
    browser.press("I have kept it").await.unwrap();
    delete_from_menu(&browser, "Revoke…", "Search 2", "Revoke key").await;
    browser.reads("Revoked").await.unwrap();
    delete_from_menu(&browser, "Delete…", "Search 2", "Delete key").await;
    browser.reads("No key yet").await.unwrap();
    no_complaints(&browser).await;
}

#[tokio::test]
async fn what_is_not_saved_is_not_lost_without_a_question() {
    let (_scene, browser) = visit().await;
    open(&browser, "/keys/new").await;
    browser.fill("#f-name", "Search").await.unwrap();
    browser.click(".sidebar a[href='/rules']").await.unwrap();
    browser
        .sees("document.querySelector('dialog[open]')")
        .await
        .unwrap();
    browser.press("Leave").await.unwrap();
    browser.is_at("/rules").await.unwrap();
    no_complaints(&browser).await;
}
