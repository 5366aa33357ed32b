//! The OpenAPI document itself.

use crate::support::app::App;
use axum::http::{StatusCode, header};
use serde_json::Value;
use std::collections::BTreeSet;

fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            all.push((method.clone(), path.clone(), operation.clone()));
        }
    }
    all
}

fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get("$ref") {
                found.insert(target);
            }
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_is_whole() {
    let app = App::start().await;
    let answer = app.get("/api/openapi.json", "").await;
    assert_eq!(answer.status, StatusCode::OK);
    let document = answer.body;
    assert!(
        document["openapi"].as_str().unwrap().starts_with("3.1"),
        "{document}"
    );
    let operations = operations(&document);
    assert!(operations.len() >= 30, "{}", operations.len());
    let mut ids = BTreeSet::new();
    for (method, path, operation) in &operations {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id.to_owned()), "{id} is there twice");
        assert!(operation["summary"].is_string(), "{method} {path} has no summary");
        assert!(operation["tags"].is_array(), "{method} {path} has no tag");
        let bodies = operation["requestBody"]["content"]["application/json"]["schema"].clone();
        if !bodies.is_null() {
            let example = request_example(&document, &bodies);
            assert!(!example.is_null(), "the body of {method} {path} has no example");
        }
    }
    let mut targets = BTreeSet::new();
    references(&document, &mut targets);
    for target in targets {
        let pointer = target.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "nothing at {target}");
    }
}

/// The example of a request body's schema, which the generated tests send.
fn request_example(document: &Value, schema: &Value) -> Value {
    let named = schema["oneOf"]
        .as_array()
        .into_iter()
        .flatten()
        .chain([schema])
        .find_map(|schema| schema["$ref"].as_str());
    let target = document
        .pointer(named.unwrap().strip_prefix('#').unwrap())
        .unwrap();
    target
        .get("example")
        .cloned()
        .unwrap_or_else(|| target["examples"][0].clone())
}

#[tokio::test]
async fn the_docs_are_browsable_under_a_policy_of_their_own() {
    let app = App::start().await;
    assert_eq!(
        app.get("/api/docs", "").await.headers[header::LOCATION],
        "/api/docs/"
    );
    for (path, kind) in [
        ("/api/docs/", "text/html"),
        ("/api/docs/swagger-ui-bundle.js", "text/javascript"),
        ("/api/docs/swagger-initializer.js", "text/javascript"),
    ] {
        let answer = app.get(path, "").await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert!(
            answer.headers[header::CONTENT_TYPE]
                .to_str()
                .unwrap()
                .starts_with(kind),
            "{path}"
        );
        let policy = answer.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("script-src 'self';"), "{policy}");
    }
    let page = app.get("/api/docs/", "").await.body.to_string();
    assert!(!page.contains("http://") && !page.contains("https://"), "{page}");
    assert!(
        app.get("/api/docs/swagger-initializer.js", "")
            .await
            .body
            .to_string()
            .contains("/api/openapi.json")
    );
    assert_eq!(
        app.get("/api/docs/none.js", "").await.status,
        StatusCode::NOT_FOUND
    );
}
