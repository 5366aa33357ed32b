//! The console in a real browser, against every real server: one Stack for all tests of this program, a workspace and a
//! browser for each. Every test ends with the question whether the browser had anything to complain about.

mod admin;
mod charts;
mod crud;
mod furnished;
mod hostile;
mod limits;
mod onboarding;
mod pages;
mod roles;
mod served;
mod session;

use rateguard_tests::browser::Browser;
use rateguard_tests::scene::{Answer, Key, PASSWORD, Scene};
use rateguard_tests::stack::Stack;
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

/// An event may take 5 s to the charts (SPEC 9); a busy machine gets more.
const COUNTED_WITHIN: Duration = Duration::from_secs(40);

/// The one Stack. It ends with this process.
async fn stack() -> &'static Stack {
    static STACK: OnceCell<&'static Stack> = OnceCell::const_new();
    STACK
        .get_or_init(async || {
            let builder = Stack::builder()
                .clickhouse()
                .limits_env("REDIS_TIMEOUT_MS", "5000");
            builder.start().await.expect("the Stack starts").share()
        })
        .await
}

/// A browser that nobody is signed in at.
async fn browser() -> Browser {
    let stack = stack().await;
    Browser::start(&stack.console_url()).await.expect("a browser")
}

/// A workspace, and a browser in which its owner has signed in, at the overview.
async fn visit() -> (Scene<'static>, Browser) {
    let scene = Scene::new(stack().await).await.expect("a workspace");
    let browser = browser().await;
    browser.open("/login").await.unwrap();
    sign_in(&browser, &scene.email).await;
    browser.is_at("/overview").await.unwrap();
    (scene, browser)
}

/// Fills the form of the sign-in, which must be shown.
async fn sign_in(browser: &Browser, email: &str) {
    sign_in_with(browser, email, PASSWORD).await;
}

async fn sign_in_with(browser: &Browser, email: &str, password: &str) {
    browser.fill("#f-email", email).await.unwrap();
    browser.fill("#f-password", password).await.unwrap();
    browser.click("button[type=submit]").await.unwrap();
}

/// A page with all that it loads.
async fn open(browser: &Browser, path: &str) {
    browser.open(path).await.unwrap();
    loaded(browser).await;
}

async fn loaded(browser: &Browser) {
    let there = "document.querySelector('h1, .empty') && !document.querySelector('.skeleton')";
    browser.sees(there).await.unwrap();
}

/// The form's fault stands at this field.
async fn faulty(browser: &Browser, field: &str) {
    let shown = format!("document.querySelector('#f-{field}-fault')?.innerText.length > 3");
    browser.sees(&shown).await.unwrap();
}

/// Presses an entry of the one row's or card's menu.
async fn from_menu(browser: &Browser, entry: &str) {
    browser.click("main .menu button").await.unwrap();
    browser.press(entry).await.unwrap();
}

/// Does what must be confirmed by typing a name.
async fn delete_from_menu(browser: &Browser, entry: &str, name: &str, action: &str) {
    from_menu(browser, entry).await;
    browser.fill("#confirm-name", "another name").await.unwrap();
    assert!(!browser.offers(action).await.unwrap());
    browser.fill("#confirm-name", name).await.unwrap();
    browser.press(action).await.unwrap();
    browser
        .sees("!document.querySelector('dialog[open]')")
        .await
        .unwrap();
}

/// Neither a violation of the page's policy nor a panic.
async fn no_complaints(browser: &Browser) {
    let complaints = browser.complaints().await.unwrap();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// Calls the flat-priced API until it answers with this status.
async fn answers(scene: &Scene<'_>, key: &Key, status: u16) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = Answer::of(scene.flat_request(key)).await;
        if answer.status == status {
            return;
        }
        assert!(
            Instant::now() < end,
            "still {} instead of {status}: {}",
            answer.status,
            answer.text
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
