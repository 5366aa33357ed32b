//! The OpenAPI document: made from the handlers (`#[utoipa::path]`) as the routes are, completed with what follows
//! from a route's form, and served at `/api/openapi.json`; `/api/docs` makes it browsable.
//!
//! A route's own annotation tells only what is particular to it. From the form come: path parameters (ids), the
//! access token that every operation needs unless it says `security(())`, and the refusals that it can answer.

use super::error::ApiError;
use super::layers;
use crate::state::AppState;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{MatchedPath, Path, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use rateguard_api::problem::Problem;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use url::form_urlencoded;
use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "RateGuard",
        description = "The control plane. Sign in at `/api/auth/login`, or make a personal access token, and send it \
                       as `Authorization: Bearer …`. Times are RFC 3339, money is decimal cents, exact to 7 places. \
                       Lists come in pages: give `nextCursor` as `cursor`. Updates honour `If-Match`, creations \
                       `Idempotency-Key`. Refusals are problem details (RFC 9457)."
    ),
    components(schemas(Problem))
)]
struct Base;

/// What the routes' own documents are merged into.
pub(super) fn base() -> utoipa::openapi::OpenApi {
    Base::openapi()
}

/// The complete document, and what the server reads from it.
pub(super) struct Document {
    json: Bytes,
    /// Query parameters of each operation.
    queries: BTreeMap<(Method, String), BTreeSet<String>>,
}

impl Document {
    pub(super) fn complete(openapi: &utoipa::openapi::OpenApi) -> Self {
        // Made of maps with string keys: serialising cannot fail.
        let mut json = serde_json::to_value(openapi).unwrap_or_default();
        complete(&mut json);
        Self {
            queries: queries(&json),
            json: Bytes::from(json.to_string()),
        }
    }
}

const METHODS: [(&str, Method); 5] = [
    ("get", Method::GET),
    ("post", Method::POST),
    ("put", Method::PUT),
    ("patch", Method::PATCH),
    ("delete", Method::DELETE),
];

fn complete(json: &mut Value) {
    json["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    json["components"]["securitySchemes"] = json!({
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "An access token of a session (15 minutes), or a personal access token."
        }
    });
    json["components"]["responses"] = json!({
        "Problem": {
            "description": "Refused; the body says why.",
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        }
    });
    let paths = json.get_mut("paths").and_then(Value::as_object_mut);
    for (path, item) in paths.into_iter().flatten() {
        for (name, _) in &METHODS {
            if let Some(operation) = item.get_mut(*name).and_then(Value::as_object_mut) {
                complete_operation(path, name, operation);
            }
        }
    }
}

fn complete_operation(path: &str, method: &str, operation: &mut Map<String, Value>) {
    let open = operation.contains_key("security");
    if open {
        operation.insert("security".to_owned(), json!([]));
    } else {
        operation.insert("security".to_owned(), json!([{"bearer": []}]));
    }
    let has_body = operation.contains_key("requestBody");
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    let given: Vec<String> = names(parameters, "header");
    if let Some(parameters) = parameters.as_array_mut() {
        for name in path_parameters(path) {
            parameters.push(json!({
                "name": name, "in": "path", "required": true, "schema": {"type": "string", "format": "uuid"}
            }));
        }
    }
    let mut refusals: BTreeSet<u16> = BTreeSet::from([422, 503]);
    if !open {
        refusals.insert(401);
    }
    if path.contains('{') {
        refusals.extend([403, 404]);
    }
    if has_body {
        refusals.extend([400, 413, 415]);
    }
    if method != "get" {
        refusals.insert(409);
    }
    if given.iter().any(|name| name.eq_ignore_ascii_case("if-match")) {
        refusals.insert(412);
    }
    if given
        .iter()
        .any(|name| name.eq_ignore_ascii_case("idempotency-key"))
    {
        refusals.insert(429);
    }
    let responses = operation.entry("responses").or_insert_with(|| json!({}));
    if let Some(responses) = responses.as_object_mut() {
        for refusal in refusals {
            responses
                .entry(refusal.to_string())
                .or_insert_with(|| json!({"$ref": "#/components/responses/Problem"}));
        }
        for (status, response) in responses {
            describe(status, response);
        }
    }
}

/// A refusal that a route names itself has the problem's body; an answer needs some description.
fn describe(status: &str, response: &mut Value) {
    let refused = status.starts_with('4') || status.starts_with('5');
    let Some(response) = response.as_object_mut() else {
        return;
    };
    if refused && !response.contains_key("$ref") {
        response.entry("content").or_insert_with(
            || json!({"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}),
        );
    }
    if response.get("description").and_then(Value::as_str) == Some("") {
        response.insert("description".to_owned(), "Done.".into());
    }
}

fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

fn names(parameters: &Value, place: &str) -> Vec<String> {
    let all = parameters.as_array().into_iter().flatten();
    all.filter(|parameter| parameter["in"] == place)
        .filter_map(|parameter| parameter["name"].as_str().map(str::to_owned))
        .collect()
}

fn queries(json: &Value) -> BTreeMap<(Method, String), BTreeSet<String>> {
    let mut queries = BTreeMap::new();
    for (path, item) in json["paths"].as_object().into_iter().flatten() {
        for (name, method) in &METHODS {
            if let Some(operation) = item.get(*name) {
                let known = names(&operation["parameters"], "query").into_iter().collect();
                queries.insert((method.clone(), path.clone()), known);
            }
        }
    }
    queries
}

/// Refuses query parameters that the document does not name: a misspelled filter would answer too much.
pub(super) async fn refuse_unknown_query(
    State(document): State<Arc<Document>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if let Some(query) = request.uri().query().filter(|query| !query.is_empty())
        && let Some(path) = request.extensions().get::<MatchedPath>()
    {
        let method = if request.method() == Method::HEAD {
            Method::GET
        } else {
            request.method().clone()
        };
        if let Some(known) = document.queries.get(&(method, path.as_str().to_owned())) {
            let mut seen = BTreeSet::new();
            for (name, _) in form_urlencoded::parse(query.as_bytes()) {
                if !known.contains(name.as_ref()) {
                    return Err(ApiError::invalid(name, "is not a parameter of this route"));
                }
                if !seen.insert(name.clone()) {
                    return Err(ApiError::invalid(name, "is there twice"));
                }
            }
        }
    }
    Ok(next.run(request).await)
}

/// The document and its browsable form; neither needs a session.
pub(super) fn routes(document: Arc<Document>) -> Router<AppState> {
    let show = move || async move {
        (
            [(header::CONTENT_TYPE, "application/json")],
            document.json.clone(),
        )
    };
    Router::new()
        .route("/api/openapi.json", get(show))
        .route("/api/docs", get(|| async { Redirect::permanent("/api/docs/") }))
        .route("/api/docs/", get(|| docs(Path(String::new()))))
        .route("/api/docs/{*file}", get(docs))
        .layer(middleware::from_fn(layers::no_store))
}

/// Swagger UI styles itself in place; everything else is a file of ours.
const DOCS_CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                        img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; \
                        form-action 'none'; frame-ancestors 'none'; object-src 'none'";

async fn docs(Path(file): Path<String>) -> Result<Response, ApiError> {
    let config = utoipa_swagger_ui::Config::from("/api/openapi.json");
    let found = utoipa_swagger_ui::serve(&file, Arc::new(config))
        .map_err(|error| ApiError::Internal(error.to_string().into()))?
        .ok_or(ApiError::NotFound("page"))?;
    let mut response = (StatusCode::OK, found.bytes.into_owned()).into_response();
    let headers = response.headers_mut();
    if let Ok(kind) = HeaderValue::from_str(&found.content_type) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(DOCS_CSP),
    );
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    Ok(response)
}
