//! A workspace with something on every page: what the tests that only look at pages look at.

use crate::{COUNTED_WITHIN, stack};
use anyhow::{Result, ensure};
use rateguard_tests::scene::{Answer, Key, Scene};
use rateguard_tests::stack::wait::until;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// The workspace, and addresses of single things in it.
pub(crate) struct Furnished {
    pub(crate) scene: Scene<'static>,
    pub(crate) api: String,
    pub(crate) key: String,
    pub(crate) rule: String,
}

/// One for all tests: they only look.
pub(crate) async fn furnished() -> &'static Furnished {
    static FURNISHED: OnceCell<Furnished> = OnceCell::const_new();
    FURNISHED
        .get_or_init(async || furnish().await.expect("a furnished workspace"))
        .await
}

async fn furnish() -> Result<Furnished> {
    let stack = stack().await;
    let scene = Scene::new(stack).await?;
    let upstream = stack.stub().addr();
    let api = scene.openai(upstream).await?;
    scene.anthropic(upstream).await?;
    let body = json!({
        "name": "Payments", "slug": "flat", "baseUrl": format!("http://{upstream}"), "authType": "NONE",
        "costModel": {"type": "PER_REQUEST", "costCentsPerRequest": "1"},
    });
    scene.api(body).await?;
    let search = scene
        .key(json!({"name": "Search", "tags": {"team": "search", "stage": "production"}}))
        .await?;
    let checkout = scene.key(json!({"name": "Checkout"})).await?;
    let batch = scene
        .key(json!({"name": "Nightly batch", "environment": "test", "expiresAt": "2099-01-01T00:00:00Z"}))
        .await?;
    let suspend = format!("/keys/{}", batch.id);
    scene
        .rest(Method::PATCH, &suspend, &json!({"isActive": false}))
        .await?;
    let rule = scene
        .rule(json!({
            "name": "Twelve searches at once", "algorithm": "TOKEN_BUCKET", "unit": "REQUESTS", "bucketSize": 12,
            "refillRate": "0.001", "endpoint": "/search", "scopes": [{"type": "PER_KEY"}],
        }))
        .await?;
    scene
        .rule(json!({
            "name": "A dollar of tokens a minute, to see", "algorithm": "SLIDING_WINDOW", "unit": "COST", "limit": "100",
            "windowMs": 60_000, "scopes": [{"type": "PER_WORKSPACE"}], "mode": "shadow",
        }))
        .await?;
    scene.hard_budget(json!("50")).await?;
    let subject = json!({"type": "KEY", "id": checkout.id});
    let budget = json!({
        "name": "Checkout, a day", "subject": subject, "window": "DAY", "limitCents": "3", "autoShutoff": true,
    });
    scene.rest(Method::POST, "/budgets", &budget).await?;
    let prices = json!({"inputCostPer1kTokens": "0.25", "outputCostPer1kTokens": "1", "cachedInputCostPer1kTokens": "0.0625"});
    let price = json!({"model": "acme-large-*", "prices": prices});
    scene.rest(Method::POST, "/prices", &price).await?;
    let invitation = json!({"email": "grace.hopper@example.com", "role": "VIEWER"});
    scene.rest(Method::POST, "/invitations", &invitation).await?;
    let token = json!({"name": "Gateway, Frankfurt"});
    scene.rest(Method::POST, "/data-planes", &token).await?;
    scene.in_force().await?;
    calls(&scene, &search, &checkout).await?;
    Ok(Furnished {
        scene,
        api,
        key: search.id,
        rule,
    })
}

/// Answers of every kind, and the wait until they are counted.
async fn calls(scene: &Scene<'_>, search: &Key, checkout: &Key) -> Result<()> {
    let flat = |key: &Key, path: &str| scene.request(Method::GET, &format!("/proxy/flat{path}"), key);
    let mut calls: Vec<(RequestBuilder, u16)> = Vec::new();
    for _ in 0..12 {
        calls.push((scene.chat(search), 200));
        calls.push((flat(search, "/search"), 200));
    }
    for _ in 0..6 {
        calls.push((scene.chat_stream(search), 200));
        calls.push((scene.message(search, false), 200));
        calls.push((flat(search, "/search"), 429));
    }
    for path in ["/charges", "/charges", "/refunds"] {
        calls.push((flat(checkout, path), 200));
    }
    for status in [402, 402] {
        calls.push((flat(checkout, "/charges"), status));
    }
    calls.push((flat(search, "/charges").header("x-stub-status", "500"), 500));
    calls.push((scene.chat(search).header("x-stub-status", "429"), 429));
    let count = calls.len() as u64;
    for (call, status) in calls {
        let answer = Answer::try_of(call).await?;
        ensure!(
            answer.status == status,
            "{} instead of {status}: {}",
            answer.status,
            answer.text
        );
    }
    until("the events to be counted", COUNTED_WITHIN, async || {
        let path = "/analytics/summary";
        let summary = scene.rest(Method::GET, path, &Value::Null).await?;
        let counted = summary["requests"]["totalRequests"].as_u64();
        ensure!(counted >= Some(count), "{counted:?} of {count}");
        Ok(())
    })
    .await
}
