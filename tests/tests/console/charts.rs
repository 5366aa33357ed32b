//! The numbers of cards, charts and tables are those that the API gives.

use crate::{COUNTED_WITHIN, answers, loaded, no_complaints, stack, visit};
use rateguard_tests::browser::Browser;
use rateguard_tests::scene::{Answer, Scene};
use rateguard_tests::stack::wait::until;
use reqwest::Method;
use serde_json::{Value, json};

/// The rows of the first chart's table that are not all nothing.
const ROWS: &str = "return [...document.querySelectorAll('.as-table tbody tr')]
    .map(row => [...row.querySelectorAll('td')].map(cell => cell.innerText.trim()))
    .filter(cells => cells.some(cell => !['0', '$0.00', '–'].includes(cell)))";
/// The values of the cards by their label.
const CARDS: &str = "return Object.fromEntries([...document.querySelectorAll('.stat')]
    .map(card => [card.querySelector('.label').innerText, card.querySelector('.value').innerText]))";

/// Some calls: five answered at 1 cent each, some refused by the rule.
async fn some_calls(scene: &Scene<'_>) {
    scene.flat(stack().await.stub().addr(), "1").await.unwrap();
    let key = scene.key(json!({"name": "Search"})).await.unwrap();
    scene.requests_per_workspace(5).await.unwrap();
    scene.in_force().await.unwrap();
    for _ in 0..5 {
        assert_eq!(Answer::of(scene.flat_request(&key)).await.status, 200);
    }
    answers(scene, &key, 429).await;
}

/// The summary, as soon as every call of the test is in it.
async fn summary(scene: &Scene<'_>) -> Value {
    until("the events to be counted", COUNTED_WITHIN, async || {
        let summary = scene
            .rest(Method::GET, "/analytics/summary", &Value::Null)
            .await?;
        // Six of ours, and the calls by which the scene knows that its changes are in force.
        anyhow::ensure!(summary["cost"]["totalCostCents"] == json!(5), "{summary}");
        anyhow::ensure!(summary["rateLimit"]["limited"] == json!(1), "{summary}");
        Ok(summary)
    })
    .await
    .unwrap()
}

/// What the page itself asked for last, asked again.
async fn asked(scene: &Scene<'_>, browser: &Browser, part: &str) -> Value {
    let script = "return performance.getEntriesByType('resource').map(entry => entry.name)
        .filter(name => name.includes(arguments[0])).pop() ?? ''";
    let url = browser.run(script, &[json!(part)]).await.unwrap();
    let (_, path) = url.as_str().unwrap().split_once(&scene.workspace_id).unwrap();
    scene.rest(Method::GET, path, &Value::Null).await.unwrap()
}

async fn card(browser: &Browser, label: &str) -> String {
    let cards = browser.run(CARDS, &[]).await.unwrap();
    cards[label].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn cards_and_charts_show_what_the_api_gives() {
    let (scene, browser) = visit().await;
    some_calls(&scene).await;
    let summary = summary(&scene).await;
    let total = summary["requests"]["totalRequests"].to_string();
    for page in ["/overview", "/analytics"] {
        browser.open(page).await.unwrap();
        loaded(&browser).await;
        browser.reads("Requests").await.unwrap();
        assert_eq!(card(&browser, "Requests").await, total, "{page}");
        assert_eq!(card(&browser, "Cost").await, "$0.05", "{page}");

        browser.press("As a table").await.unwrap();
        browser
            .sees("document.querySelector('.as-table tbody tr')")
            .await
            .unwrap();
        let shown = browser.run(ROWS, &[]).await.unwrap();
        let requests = asked(&scene, &browser, "/analytics/requests").await;
        let given: Vec<Value> = requests["data"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|point| point["requests"] != json!(0))
            .map(|point| {
                let count = |name: &str| point[name].to_string();
                json!([count("requests"), count("errors"), count("rateLimited")])
            })
            .collect();
        assert!(!given.is_empty());
        assert_eq!(shown, json!(given), "{page}");
        browser.reads("/things").await.unwrap();
    }
    no_complaints(&browser).await;
}
