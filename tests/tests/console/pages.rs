//! Every page, light and dark, wide and narrow: nothing overflows, axe finds nothing serious, the policy holds. With
//! `RATEGUARD_SCREENSHOTS` each is written there as a picture for people to look at (`./dev screenshots`).

use crate::furnished::furnished;
use crate::{browser, loaded, no_complaints, open, sign_in, visit};
use rateguard_tests::browser::Browser;
use rateguard_tests::stack::artifacts::cache_folder;
use serde_json::{Value, json};
use std::path::PathBuf;

/// What is read, of a session.
pub(crate) const READING_PAGES: [&str; 12] = [
    "/overview",
    "/analytics",
    "/costs",
    "/apis",
    "/keys",
    "/rules",
    "/prices",
    "/team",
    "/audit",
    "/data-planes",
    "/settings",
    "/profile",
];
/// Where something is made.
pub(crate) const MAKING_PAGES: [&str; 4] = ["/welcome", "/apis/new", "/keys/new", "/rules/new"];
const PUBLIC_PAGES: [&str; 7] = [
    "/",
    "/login",
    "/register",
    "/accept-invitation",
    "/reset-password",
    "/design",
    "/no-such-page",
];
/// What opens the details of the newest request.
const NEWEST: &str = "css .log .line:not(.head)";
/// Dialogs: their page, and what is pressed, one after the other: a text, or what a selector finds.
const DIALOGS: [(&str, &[&str]); 11] = [
    ("/analytics", &[NEWEST]),
    ("/prices", &["Set a price"]),
    ("/costs", &["Change"]),
    ("/costs", &["Add budget"]),
    ("/team", &["Invite"]),
    ("/data-planes", &["Create token"]),
    ("/rules", &["Test a request"]),
    ("/settings", &["Delete workspace…"]),
    ("/keys", &["Actions for Search"]),
    ("/keys", &["Actions for Search", "Rotate…"]),
    ("/keys", &["Actions for Search", "Delete…"]),
];
/// Widths in CSS pixels, with the name of each in the pictures.
const WIDTHS: [(&str, u32, u32); 2] = [("wide", 1360, 900), ("narrow", 360, 740)];

const AXE: &str = "return axe.run(document, arguments[0]).then(found => found.violations
    .filter(one => one.impact === 'serious' || one.impact === 'critical')
    .map(one => one.id + ': ' + one.nodes.slice(0, 3).map(node => node.html.slice(0, 200)).join(' | ')))";
const OVERFLOW: &str = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";

#[tokio::test]
async fn every_public_page_is_accessible_and_fits() {
    let browser = browser().await;
    inspect(&browser, "", &PUBLIC_PAGES).await;
}

#[tokio::test]
async fn every_page_that_is_read_is_accessible_and_fits() {
    let browser = signed_in().await;
    inspect(&browser, "", &READING_PAGES).await;
}

#[tokio::test]
async fn every_page_where_something_is_made_is_accessible_and_fits() {
    let browser = signed_in().await;
    inspect(&browser, "", &MAKING_PAGES).await;
    let one = furnished().await;
    let (api, key, rule) = (
        format!("/apis/{}", one.api),
        format!("/keys/{}", one.key),
        format!("/rules/{}", one.rule),
    );
    inspect(&browser, "", &[&api, &key, &rule]).await;
}

#[tokio::test]
async fn every_page_of_an_empty_workspace_is_accessible_and_fits() {
    let (_scene, browser) = visit().await;
    inspect(&browser, "empty ", &READING_PAGES).await;
    inspect(&browser, "empty ", &["/welcome"]).await;
}

#[tokio::test]
async fn every_dialog_is_accessible_and_fits() {
    let browser = signed_in().await;
    let axe = axe();
    let mut faults = Vec::new();
    for (page, presses) in DIALOGS {
        browser.size(WIDTHS[0].1, WIDTHS[0].2).await.unwrap();
        open(&browser, page).await;
        for press in presses {
            match press.strip_prefix("css ") {
                Some(selector) => browser.click(selector).await.unwrap(),
                None => browser.press(press).await.unwrap(),
            }
        }
        browser
            .sees("document.querySelector('dialog[open], .menu .list')")
            .await
            .unwrap();
        browser.run(&axe, &[]).await.unwrap();
        let view = format!("{page} {}", presses.join(" ").replace(NEWEST, "newest"));
        faults.extend(look(&browser, &view).await);
    }
    assert!(faults.is_empty(), "{faults:#?}");
    no_complaints(&browser).await;
}

/// A browser at the furnished workspace.
async fn signed_in() -> Browser {
    let furnished = furnished().await;
    let browser = browser().await;
    browser.open("/login").await.unwrap();
    sign_in(&browser, &furnished.scene.email).await;
    browser.is_at("/overview").await.unwrap();
    browser
}

/// All faults of all pages at once: whoever repairs them wants the list.
async fn inspect(browser: &Browser, prefix: &str, pages: &[&str]) {
    let axe = axe();
    let mut faults = Vec::new();
    for page in pages {
        browser.open(page).await.unwrap();
        // The page of all components shows the waiting ones too.
        if *page == "/design" {
            browser.sees("document.querySelector('h1')").await.unwrap();
        } else {
            loaded(browser).await;
        }
        browser.run(&axe, &[]).await.unwrap();
        faults.extend(look(browser, &format!("{prefix}{}", named(page))).await);
    }
    assert!(faults.is_empty(), "{faults:#?}");
    no_complaints(browser).await;
}

/// A page's address without the id of what it shows.
fn named(page: &str) -> &str {
    match page.rsplit_once('/') {
        _ if page == "/" => "start",
        Some((list, id)) if id.len() == 36 => list.trim_end_matches('s'),
        _ => page,
    }
}

/// What is wrong with the page as it stands, in every width and both colour schemes. axe must have been given to it.
async fn look(browser: &Browser, name: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (size, width, height) in WIDTHS {
        browser.size(width, height).await.unwrap();
        for dark in [false, true] {
            // Empty pages have no colour of their own.
            if dark && name.starts_with("empty") && pictures().is_none() {
                continue;
            }
            browser.prefer_dark(dark).await.unwrap();
            let view = format!("{name} {size} {}", if dark { "dark" } else { "light" });
            settled(browser).await;
            let over = browser.run(OVERFLOW, &[]).await.unwrap();
            if over != json!(0) {
                faults.push(format!("{view}: {over} px too wide"));
            }
            if let Some(rules) = rules(size == "wide", dark) {
                let found = browser.run(AXE, &[rules]).await.unwrap();
                let found = found.as_array().into_iter().flatten().filter_map(Value::as_str);
                faults.extend(found.map(|fault| format!("{view}: {fault}")));
            }
            picture(browser, &view).await;
        }
    }
    faults
}

/// What axe looks for: everything once, then what the colours, or the width, can change.
fn rules(wide: bool, dark: bool) -> Option<Value> {
    let only = |rules: &[&str]| json!({"resultTypes": ["violations"], "runOnly": rules});
    match (wide, dark) {
        (true, false) => Some(json!({"resultTypes": ["violations"]})),
        (true, true) => Some(only(&["color-contrast"])),
        (false, false) => Some(only(&[
            "button-name",
            "link-name",
            "label",
            "scrollable-region-focusable",
            "target-size",
        ])),
        (false, true) => None,
    }
}

/// Colours change by a transition: its middle is neither one nor the other.
async fn settled(browser: &Browser) {
    let still = "document.getAnimations().every(one => one.playState !== 'running' \
                 || one.effect.getComputedTiming().iterations === Infinity)";
    browser.sees(still).await.unwrap();
}

/// Where pictures are wanted.
fn pictures() -> Option<PathBuf> {
    std::env::var_os("RATEGUARD_SCREENSHOTS").map(PathBuf::from)
}

async fn picture(browser: &Browser, view: &str) {
    let Some(folder) = pictures() else {
        return;
    };
    std::fs::create_dir_all(&folder).unwrap();
    let words = view
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("-");
    browser
        .picture(&folder.join(format!("{name}.png")))
        .await
        .unwrap();
}

/// `RATEGUARD_AXE`, else the newest that `./dev` has installed.
fn axe() -> String {
    let named = std::env::var_os("RATEGUARD_AXE").map(PathBuf::from);
    let file = named.or_else(|| {
        let homes = std::fs::read_dir(cache_folder()).ok()?.flatten();
        let homes = homes.filter(|home| home.file_name().to_string_lossy().starts_with("axe-playwright"));
        let newest = homes.map(|home| home.path()).max()?;
        Some(newest.join("axe.min.js"))
    });
    let file = file.expect("axe-core is not installed: ./dev test does it");
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
