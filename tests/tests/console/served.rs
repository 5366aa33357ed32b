//! The console's files as the control plane sends them.

use crate::{browser, no_complaints, stack};
use rateguard_tests::scene::Answer;

/// The files of the first load: those that the page names, and those that its first script names.
async fn files() -> Vec<String> {
    let stack = stack().await;
    let get = async |path: &str| {
        let request = stack.client().get(format!("{}{path}", stack.console_url()));
        Answer::of(request).await.text
    };
    let page = get("/").await;
    let mut files: Vec<String> = named(&page, '"');
    let boot = files.iter().find(|file| file.contains("/boot-"));
    let boot = get(boot.expect("is the console built?")).await;
    files.extend(named(&boot, '\''));
    files.sort_unstable();
    files.dedup();
    assert!(files.len() >= 5, "{files:?}");
    files
}

fn named(text: &str, quote: char) -> Vec<String> {
    let quoted = text.split(quote).filter(|part| part.starts_with("/assets/"));
    quoted.map(str::to_owned).collect()
}

#[tokio::test]
async fn the_page_has_a_strict_policy_and_its_files_are_kept_for_ever() {
    let stack = stack().await;
    let page = Answer::of(stack.client().get(format!("{}/keys", stack.console_url()))).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("cache-control"), "no-cache");
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self' 'wasm-unsafe-eval'"));
    assert!(
        !policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"),
        "{policy}"
    );
    for file in files().await {
        let request = stack.client().get(format!("{}{file}", stack.console_url()));
        let answer = Answer::of(request.header("accept-encoding", "gzip, br")).await;
        assert_eq!(answer.status, 200, "{file}");
        assert_eq!(answer.header("content-encoding"), "br", "{file}");
        assert_eq!(
            answer.header("cache-control"),
            "public, max-age=31536000, immutable",
            "{file}"
        );
    }
}

/// SPEC 9: page, style, scripts and program together, as they go over the wire.
#[tokio::test]
async fn the_first_load_is_small() {
    let stack = stack().await;
    let get = async |path: &str| {
        let request = stack.client().get(format!("{}{path}", stack.console_url()));
        let answer = request.header("accept-encoding", "br").send().await.unwrap();
        answer.bytes().await.unwrap().len()
    };
    let mut bytes = get("/").await;
    for file in files().await {
        bytes += get(&file).await;
    }
    assert!(bytes <= 500_000, "{bytes} bytes");
}

#[tokio::test]
async fn a_script_that_is_put_into_the_page_is_refused_and_told() {
    let browser = browser().await;
    browser.open("/login").await.unwrap();
    browser.sees("document.querySelector('#f-email')").await.unwrap();
    no_complaints(&browser).await;
    let inject = "const script = document.createElement('script'); script.textContent = 'window.ran = 1'; \
                  document.head.append(script); return window.ran ?? null";
    assert!(browser.run(inject, &[]).await.unwrap().is_null());
    // What the other tests look for is found where it is.
    assert!(!browser.complaints().await.unwrap().is_empty());
}
