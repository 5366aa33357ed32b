//! What is set in the console holds at the gateway.

use crate::{answers, no_complaints, open, stack, visit};
use serde_json::json;

#[tokio::test]
async fn a_budget_that_is_used_up_refuses_calls_with_402() {
    let (scene, browser) = visit().await;
    scene.flat(stack().await.stub().addr(), "1").await.unwrap();
    let key = scene.key(json!({})).await.unwrap();
    answers(&scene, &key, 200).await;

    open(&browser, "/costs").await;
    browser.press("Set a monthly budget").await.unwrap();
    browser.fill("#f-monthlyBudgetCents", "much").await.unwrap();
    browser.press("Save budget").await.unwrap();
    browser
        .sees("document.querySelector('#f-monthlyBudgetCents-fault')")
        .await
        .unwrap();
    browser.fill("#f-monthlyBudgetCents", "0.01").await.unwrap();
    let on = "document.querySelector('dialog[open] input[name=autoShutoff]').checked";
    if browser.run(&format!("return {on}"), &[]).await.unwrap() == json!(false) {
        browser.press("Refuse calls").await.unwrap();
        browser.sees(on).await.unwrap();
    }
    browser.press("Save budget").await.unwrap();
    browser.reads("of $0.01").await.unwrap();
    answers(&scene, &key, 402).await;
    no_complaints(&browser).await;
}

#[tokio::test]
async fn a_rate_limit_refuses_calls_with_429_until_it_is_switched_off() {
    let (scene, browser) = visit().await;
    scene.flat(stack().await.stub().addr(), "0").await.unwrap();
    let key = scene.key(json!({})).await.unwrap();
    answers(&scene, &key, 200).await;

    open(&browser, "/rules/new").await;
    browser.fill("#f-name", "One an hour").await.unwrap();
    browser.fill("#f-limit", "1").await.unwrap();
    browser.choose("#f-windowMs", "3600000").await.unwrap();
    browser.press("Add rate limit").await.unwrap();
    browser.is_at("/rules").await.unwrap();
    answers(&scene, &key, 429).await;

    browser.click("td.acts button").await.unwrap();
    browser.press("Switch off").await.unwrap();
    answers(&scene, &key, 200).await;
    no_complaints(&browser).await;
}

#[tokio::test]
async fn a_budget_of_a_key_shows_what_the_key_has_spent() {
    let (scene, browser) = visit().await;
    scene.flat(stack().await.stub().addr(), "1").await.unwrap();
    let key = scene.key(json!({"name": "Search"})).await.unwrap();
    open(&browser, "/costs").await;
    browser.press("Add budget").await.unwrap();
    browser.fill("#f-name", "Search, a day").await.unwrap();
    browser.choose("#f-subject", "KEY").await.unwrap();
    browser.choose("#f-subject-id", &key.id).await.unwrap();
    browser.fill("#f-limitCents", "0.02").await.unwrap();
    browser.press("Save budget").await.unwrap();
    browser.reads("of $0.02").await.unwrap();
    answers(&scene, &key, 402).await;
    open(&browser, "/costs").await;
    browser.reads("100.0 %").await.unwrap();
    no_complaints(&browser).await;
}
