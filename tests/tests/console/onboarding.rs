//! From nothing to the first governed request, as a new user does it.

use crate::{COUNTED_WITHIN, browser, loaded, no_complaints, stack};
use rateguard_tests::scene::{Answer, PASSWORD};
use std::time::{Duration, Instant};

/// A key's use is written at most this late, and the page looks every two seconds.
const SEEN_WITHIN: Duration = Duration::from_secs(100);

#[tokio::test]
async fn a_new_user_gets_to_the_first_governed_request() {
    let stack = stack().await;
    let browser = browser().await;
    browser.open("/register").await.unwrap();
    browser.fill("#f-name", "Ada").await.unwrap();
    let email = format!("ada-{}@example.com", std::process::id());
    browser.fill("#f-email", &email).await.unwrap();
    browser.fill("#f-password", "short").await.unwrap();
    browser.press("Create account").await.unwrap();
    browser
        .sees("document.querySelector('#f-password-fault')")
        .await
        .unwrap();
    browser.fill("#f-password", PASSWORD).await.unwrap();
    browser.press("Create account").await.unwrap();
    browser.is_at("/welcome").await.unwrap();

    browser.click("input[value=custom]").await.unwrap();
    browser.fill("#f-name", "Payments").await.unwrap();
    browser.fill("#f-baseUrl", "not an address").await.unwrap();
    browser.press("Add API").await.unwrap();
    browser
        .sees("document.querySelector('#f-baseUrl-fault')")
        .await
        .unwrap();
    let upstream = format!("http://{}", stack.stub().addr());
    browser.fill("#f-baseUrl", &upstream).await.unwrap();
    browser.press("Add API").await.unwrap();
    browser
        .sees("document.querySelectorAll('.step.done').length === 1")
        .await
        .unwrap();
    browser.press("Create key").await.unwrap();
    browser
        .sees("document.querySelector('.copy.loud code')")
        .await
        .unwrap();
    let secret = browser.text_of(".copy.loud code").await.unwrap();
    assert!(secret.starts_with("rg_live_"), "{secret}");
    browser
        .sees("document.querySelector('.waiting') && !document.querySelector('.waiting.good')")
        .await
        .unwrap();
    let snippet = browser.text_of(".code").await.unwrap();
    assert!(snippet.contains(&secret), "{snippet}");

    first_request(&secret).await;
    browser
        .sees_within("document.querySelector('.waiting.good')", SEEN_WITHIN)
        .await
        .unwrap();

    // It is in the log, priced or not.
    browser.open("/analytics").await.unwrap();
    let logged =
        "[...document.querySelectorAll('.log .line')].some(line => line.innerText.includes('/charges'))";
    browser.sees_within(logged, COUNTED_WITHIN).await.unwrap();

    // The key was shown once.
    browser.open("/welcome").await.unwrap();
    loaded(&browser).await;
    browser.reads("My application").await.unwrap();
    assert!(!browser.source().await.unwrap().contains(&secret));
    no_complaints(&browser).await;
}

/// The call of the snippet, as soon as the gateway knows the key.
async fn first_request(secret: &str) {
    let stack = stack().await;
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let url = format!("{}/proxy/payments/charges", stack.gateway_url());
        let answer = Answer::of(stack.client().get(url).bearer_auth(secret)).await;
        if answer.status == 200 {
            return;
        }
        assert!(Instant::now() < end, "{} {}", answer.status, answer.text);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
