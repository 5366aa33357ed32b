//! Signing in, staying in, and what happens when the session has ended.

use crate::{browser, loaded, no_complaints, open, sign_in, stack, visit};
use rateguard_tests::scene::Scene;

#[tokio::test]
async fn an_ended_session_leads_to_the_sign_in_and_back() {
    let (scene, browser) = visit().await;
    // The access token is in the page's memory only: a new page lives on the cookie.
    open(&browser, "/rules").await;
    browser.reads("Rate limits").await.unwrap();
    browser.forget_cookies().await.unwrap();
    browser.open("/rules").await.unwrap();
    browser.is_at("/login").await.unwrap();
    sign_in(&browser, &scene.email).await;
    browser.is_at("/rules").await.unwrap();
    loaded(&browser).await;
    no_complaints(&browser).await;
}

#[tokio::test]
async fn no_token_is_where_a_script_of_another_page_finds_it() {
    let (_scene, browser) = visit().await;
    let kept = "return JSON.stringify([localStorage, sessionStorage, document.cookie])";
    let kept = browser.run(kept, &[]).await.unwrap();
    assert!(!kept.as_str().unwrap().contains("eyJ"), "{kept}");
    let cookies = browser
        .devtools("Network.getAllCookies", &serde_json::json!({}))
        .await
        .unwrap();
    let cookies = cookies["cookies"].as_array().unwrap();
    assert!(!cookies.is_empty() && cookies.iter().all(|cookie| cookie["httpOnly"] == true));
}

#[tokio::test]
async fn a_wrong_password_is_told_without_saying_what_is_wrong() {
    let scene = Scene::new(stack().await).await.unwrap();
    let browser = browser().await;
    browser.open("/login").await.unwrap();
    browser.fill("#f-email", &scene.email).await.unwrap();
    browser.fill("#f-password", "not the password").await.unwrap();
    browser.click("button[type=submit]").await.unwrap();
    browser
        .sees("document.querySelector('.notice.bad')")
        .await
        .unwrap();
    let told = browser.text_of(".notice.bad").await.unwrap();
    browser
        .fill("#f-email", "nobody-at-all@example.com")
        .await
        .unwrap();
    browser.click("button[type=submit]").await.unwrap();
    browser
        .sees("document.querySelector('.notice.bad') && !document.querySelector('button[aria-busy=true]')")
        .await
        .unwrap();
    assert_eq!(browser.text_of(".notice.bad").await.unwrap(), told);
    no_complaints(&browser).await;
}

#[tokio::test]
async fn a_session_that_is_ended_elsewhere_leads_to_the_sign_in() {
    let (scene, browser) = visit().await;
    open(&browser, "/keys").await;
    // The page stays as it is: only its next call learns of the end.
    scene.end_other_sessions().await.unwrap();
    let go = "document.querySelector(\".sidebar a[href='/rules']\")?.click()";
    browser.run(go, &[]).await.unwrap();
    browser.is_at("/login").await.unwrap();
    sign_in(&browser, &scene.email).await;
    // Where it was, or was going, when a call of its own was refused.
    browser
        .sees("['/keys', '/rules'].includes(location.pathname)")
        .await
        .unwrap();
    loaded(&browser).await;
    no_complaints(&browser).await;
}

#[tokio::test]
async fn an_old_token_is_renewed_once_however_many_calls_wait() {
    let (_scene, browser) = visit().await;
    open(&browser, "/keys").await;
    let renewals = "performance.getEntriesByType('resource').filter(one => one.name.endsWith('/api/auth/refresh')).length";
    let before = browser.run(&format!("return {renewals}"), &[]).await.unwrap();
    // 14 minutes and a half later.
    let later = "const real = Date.now; Date.now = () => real() + 14.5 * 60000";
    browser.run(later, &[]).await.unwrap();
    browser.click(".sidebar a[href='/overview']").await.unwrap();
    browser.is_at("/overview").await.unwrap();
    loaded(&browser).await;
    let after = browser.run(&format!("return {renewals}"), &[]).await.unwrap();
    assert_eq!(after.as_u64(), before.as_u64().map(|count| count + 1));
    no_complaints(&browser).await;
}
