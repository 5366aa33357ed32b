//! Every page, light and dark, wide and narrow: nothing overflows, axe finds nothing serious, the policy holds. With
//! `RATEGUARD_SCREENSHOTS` each is written there as a picture for people to look at (`./dev screenshots`).

use crate::{browser, loaded, no_complaints, stack, visit};
use rateguard_tests::browser::Browser;
use rateguard_tests::stack::artifacts::cache_folder;
use serde_json::{Value, json};
use std::path::PathBuf;

/// What needs a session.
pub(crate) const WORKSPACE_PAGES: [&str; 15] = [
    "/overview",
    "/welcome",
    "/apis",
    "/apis/new",
    "/keys",
    "/keys/new",
    "/rules",
    "/rules/new",
    "/analytics",
    "/costs",
    "/team",
    "/audit",
    "/data-planes",
    "/settings",
    "/profile",
];
const PUBLIC_PAGES: [&str; 6] = [
    "/",
    "/login",
    "/register",
    "/accept-invitation",
    "/design",
    "/no-such-page",
];
/// Widths in CSS pixels, with the name of each in the pictures.
const WIDTHS: [(&str, u32, u32); 2] = [("wide", 1360, 900), ("narrow", 360, 740)];

const AXE: &str = "return axe.run(document, {resultTypes: ['violations']}).then(found => found.violations
    .filter(one => one.impact === 'serious' || one.impact === 'critical')
    .map(one => one.id + ': ' + one.nodes.slice(0, 3).map(node => node.html.slice(0, 200)).join(' | ')))";
const OVERFLOW: &str = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";

#[tokio::test]
async fn every_public_page_is_accessible_and_fits() {
    let browser = browser().await;
    inspect(&browser, &PUBLIC_PAGES).await;
}

#[tokio::test]
async fn every_page_of_a_workspace_is_accessible_and_fits() {
    let (scene, browser) = visit().await;
    scene.flat(stack().await.stub().addr(), "1").await.unwrap();
    scene
        .key(json!({"name": "Search", "tags": {"team": "search"}}))
        .await
        .unwrap();
    scene.requests_per_workspace(100).await.unwrap();
    scene.hard_budget(json!(1000)).await.unwrap();
    inspect(&browser, &WORKSPACE_PAGES).await;
}

/// All faults of all pages at once: whoever repairs them wants the list.
async fn inspect(browser: &Browser, pages: &[&str]) {
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
        for (size, width, height) in WIDTHS {
            browser.size(width, height).await.unwrap();
            for dark in [false, true] {
                browser.prefer_dark(dark).await.unwrap();
                let view = format!("{page} {size} {}", if dark { "dark" } else { "light" });
                settled(browser).await;
                let over = browser.run(OVERFLOW, &[]).await.unwrap();
                if over != json!(0) {
                    faults.push(format!("{view}: {over} px too wide"));
                }
                // What axe looks at depends on the width or on the colours, not on both.
                if !(dark && size == "narrow") {
                    let found = browser.run(AXE, &[]).await.unwrap();
                    let found = found.as_array().into_iter().flatten().filter_map(Value::as_str);
                    faults.extend(found.map(|fault| format!("{view}: {fault}")));
                }
                picture(browser, &view).await;
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    no_complaints(browser).await;
}

/// Colours change by a transition: its middle is neither one nor the other.
async fn settled(browser: &Browser) {
    let still = "document.getAnimations().every(one => one.playState !== 'running' \
                 || one.effect.getComputedTiming().iterations === Infinity)";
    browser.sees(still).await.unwrap();
}

async fn picture(browser: &Browser, view: &str) {
    let Some(folder) = std::env::var_os("RATEGUARD_SCREENSHOTS").map(PathBuf::from) else {
        return;
    };
    std::fs::create_dir_all(&folder).unwrap();
    let name = view.trim_start_matches('/').replace([' ', '/'], "-");
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
        let homes = homes.filter(|home| home.file_name().to_string_lossy().starts_with("axe-core-"));
        let newest = homes.map(|home| home.path()).max()?;
        Some(newest.join("node_modules/axe-core/axe.min.js"))
    });
    let file = file.expect("axe-core is not installed: ./dev test does it");
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
