//! Names that are markup stay text, wherever they are shown.

use crate::pages::WORKSPACE_PAGES;
use crate::{no_complaints, open, stack, visit};
use serde_json::json;

const MARKUP: &str = "<img src=x onerror=window.ran=1><script>window.ran=1</script>";

#[tokio::test]
async fn hostile_names_are_text_on_every_page() {
    let (scene, browser) = visit().await;
    let upstream = format!("http://{}", stack().await.stub().addr());
    scene
        .api(json!({"name": MARKUP, "slug": "hostile", "baseUrl": upstream, "authType": "NONE"}))
        .await
        .unwrap();
    scene.key(json!({"name": MARKUP})).await.unwrap();
    scene
        .rule(json!({
            "name": MARKUP, "algorithm": "TOKEN_BUCKET", "unit": "REQUESTS", "bucketSize": 5, "refillRate": "1",
            "scopes": [{"type": "PER_KEY"}],
        }))
        .await
        .unwrap();
    for page in WORKSPACE_PAGES {
        open(&browser, page).await;
        let found = browser
            .run(
                "return [window.ran ?? null, document.querySelectorAll('img[src=x], main script').length]",
                &[],
            )
            .await
            .unwrap();
        assert_eq!(found, json!([null, 0]), "{page}");
    }
    for page in ["/apis", "/keys", "/rules"] {
        open(&browser, page).await;
        browser.reads(MARKUP).await.unwrap();
    }
    no_complaints(&browser).await;
}
