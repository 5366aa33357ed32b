//! What people and programs write is text, wherever it is shown: names, tags, paths, addresses.

use crate::pages::{MAKING_PAGES, READING_PAGES};
use crate::{COUNTED_WITHIN, no_complaints, open, sign_in_with, stack, visit};
use rateguard_tests::browser::Browser;
use rateguard_tests::scene::{Answer, PASSWORD, Scene};
use rateguard_tests::stack::wait::until;
use reqwest::Method;
use serde_json::{Value, json};

const MARKUP: &str = "<img src=x onerror=window.ran=1><script>window.ran=1</script>";

/// Whatever takes free text gets markup.
async fn hostile_workspace(scene: &Scene<'_>) {
    let upstream = format!("http://{}/<b>", stack().await.stub().addr());
    let flat = json!({"type": "PER_REQUEST", "costCentsPerRequest": "1"});
    let api =
        json!({"name": MARKUP, "slug": "flat", "baseUrl": upstream, "authType": "NONE", "costModel": flat});
    let made = scene.api(api.clone()).await;
    if made.is_err() {
        // An address with markup is refused: fine too.
        let mut api = api;
        api["baseUrl"] = json!(format!("http://{}", stack().await.stub().addr()));
        scene.api(api).await.unwrap();
    }
    let key = json!({"name": MARKUP, "allowedModels": ["<b>*"]});
    let key = scene.key(key).await.unwrap();
    let rule = json!({
        "name": MARKUP, "algorithm": "TOKEN_BUCKET", "unit": "REQUESTS", "bucketSize": 5, "refillRate": "1",
        "scopes": [{"type": "PER_KEY"}], "endpoint": "/<img src=x>/**",
    });
    if scene.rule(rule.clone()).await.is_err() {
        let mut rule = rule;
        rule["endpoint"] = Value::Null;
        scene.rule(rule).await.unwrap();
    }
    let budget =
        json!({"name": MARKUP, "subject": {"type": "WORKSPACE"}, "window": "DAY", "limitCents": "5"});
    scene.rest(Method::POST, "/budgets", &budget).await.unwrap();
    for path in ["/data-planes", "/access-tokens"] {
        let token = json!({"name": MARKUP, "role": "VIEWER"});
        let token = if path == "/data-planes" {
            json!({"name": MARKUP})
        } else {
            token
        };
        scene.rest(Method::POST, path, &token).await.unwrap();
    }
    scene
        .rest(Method::PATCH, "", &json!({"name": MARKUP}))
        .await
        .unwrap();
    scene.in_force().await.unwrap();
    let path = "/proxy/flat/%3Cimg%20src=x%20onerror=window.ran=1%3E";
    let answer = Answer::of(scene.request(Method::GET, path, &key)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    until("the request to be counted", COUNTED_WITHIN, async || {
        let path = "/analytics/summary";
        let summary = scene.rest(Method::GET, path, &Value::Null).await?;
        anyhow::ensure!(summary["cost"]["totalCostCents"] == json!(1), "{summary}");
        Ok(())
    })
    .await
    .unwrap();
}

async fn is_inert(browser: &Browser, page: &str) {
    let script = "return [window.ran ?? null, document.querySelectorAll('img[src=x], main script').length]";
    let found = browser.run(script, &[]).await.unwrap();
    assert_eq!(found, json!([null, 0]), "{page}");
}

#[tokio::test]
async fn hostile_text_is_text_on_every_page() {
    let (scene, browser) = visit().await;
    hostile_workspace(&scene).await;
    for page in READING_PAGES.iter().chain(&MAKING_PAGES) {
        open(&browser, page).await;
        is_inert(&browser, page).await;
    }
    for page in ["/apis", "/keys", "/rules", "/costs", "/data-planes", "/overview"] {
        open(&browser, page).await;
        browser.reads(MARKUP).await.unwrap();
    }
    no_complaints(&browser).await;
}

#[tokio::test]
async fn hostile_addresses_lead_nowhere() {
    let (scene, browser) = visit().await;
    for page in [
        "/%3Cscript%3Ewindow.ran=1%3C/script%3E",
        "/keys/%3Cimg%20src=x%3E",
        "/overview?range=%3Cscript%3Ewindow.ran=1%3C/script%3E",
        "/audit?actor=%3Cscript%3E",
    ] {
        open(&browser, page).await;
        is_inert(&browser, page).await;
    }
    browser.forget_cookies().await.unwrap();
    for next in [
        "https://example.com/",
        "//example.com/",
        "javascript:window.ran=1",
        "/\\example.com",
    ] {
        browser.open(&format!("/login?next={next}")).await.unwrap();
        sign_in_with(&browser, &scene.email, PASSWORD).await;
        browser.is_at("/overview").await.unwrap();
        is_inert(&browser, next).await;
        browser.forget_cookies().await.unwrap();
    }
    no_complaints(&browser).await;
}
