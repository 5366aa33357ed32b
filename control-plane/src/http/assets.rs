//! The console: its files, its page for every route of its own, and what a browser is told about them (DS-02, DS-06).

use crate::assets::{Console, File};
use crate::config::Environment;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::hex;
use crate::state::AppState;

/// Nothing but our own files; the WASM module may be compiled; nobody may frame it. The origins that may be called
/// besides our own stand at the end.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; \
                      font-src 'self'; manifest-src 'self'; base-uri 'none'; frame-ancestors 'none'; \
                      form-action 'self'; object-src 'none'; connect-src 'self'";
const PLACEHOLDER_POLICY: &str =
    "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'";
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// Kept, and asked about each time.
const REVALIDATE: &str = "no-cache";
/// A year, as browsers' preload lists want it.
const TRANSPORT_SECURITY: &str = "max-age=31536000";

/// Paths that are never the console's.
const PROGRAMS: [&str; 3] = ["/api", "/v1", "/v3"];

/// The console's answer to a request that no route took; `None` where it has none.
///
/// Its test call goes to the gateway, which is the only other origin that it may reach.
pub(super) fn answer(
    console: Console,
    gateway: &str,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Option<Response> {
    let path = uri.path();
    let is_programs = PROGRAMS.iter().any(|prefix| {
        path.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    if is_programs || !matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    if let Some(file) = console.file(path.trim_start_matches('/')) {
        return Some(send(file, gateway, headers));
    }
    // A missing script must not be answered by a page.
    let looks_like_file = path.rsplit('/').next().is_some_and(|last| last.contains('.'));
    match console.index() {
        Some(index) if !looks_like_file => Some(send(index, gateway, headers)),
        None if path == "/" => Some(placeholder()),
        Some(_) | None => None,
    }
}

/// The file in the best form that the browser takes, or 304.
fn send(file: &'static File, gateway: &str, headers: &HeaderMap) -> Response {
    let (encoding, bytes) = choose(file, headers);
    // What never changes is never asked about.
    let tag = (!file.is_fingerprinted()).then(|| tag(file, encoding));
    let is_known = tag.as_deref().is_some_and(|tag| is_known(tag, headers));
    let caching = if file.is_fingerprinted() {
        FOR_EVER
    } else {
        REVALIDATE
    };
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Body::from(bytes))
    };
    let set = response.headers_mut();
    set.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    set.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Some(value) = tag.and_then(|tag| HeaderValue::from_str(&tag).ok()) {
        set.insert(header::ETAG, value);
    }
    if !is_known {
        set.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.media_type()));
        if let Some(encoding) = encoding {
            set.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
    }
    set.insert(header::CONTENT_SECURITY_POLICY, policy(gateway));
    response
}

/// With the gateway's origin: an address may have a path, which would limit the policy to that very page.
fn policy(gateway: &str) -> HeaderValue {
    let origin = Url::parse(gateway).map(|url| url.origin().ascii_serialization());
    let whole = origin.map(|origin| [POLICY, " ", &origin].concat());
    whole
        .ok()
        .and_then(|whole| HeaderValue::from_str(&whole).ok())
        .unwrap_or(HeaderValue::from_static(POLICY))
}

/// Another form is another representation (RFC 9110, 8.8.3.3).
fn tag(file: &File, encoding: Option<&str>) -> String {
    let mut digest = hex::encode(&Sha256::digest(file.plain));
    digest.truncate(32);
    encoding.map_or_else(
        || format!("\"{digest}\""),
        |encoding| format!("\"{digest}-{encoding}\""),
    )
}

fn is_known(tag: &str, headers: &HeaderMap) -> bool {
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    known.is_some_and(|list| {
        list.split(',')
            .any(|known| known.trim().trim_start_matches("W/") == tag)
    })
}

/// Brotli before gzip before none. A browser that lists neither gets the file itself.
fn choose(file: &'static File, headers: &HeaderMap) -> (Option<&'static str>, &'static [u8]) {
    let accepted = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let takes = |name: &str| {
        accepted.split(',').any(|entry| {
            let mut parts = entry.split(';').map(str::trim);
            let is_it = parts
                .next()
                .is_some_and(|coding| coding.eq_ignore_ascii_case(name));
            let is_refused = parts.any(|parameter| {
                parameter
                    .strip_prefix("q=")
                    .is_some_and(|weight| weight.trim_end_matches(['0', '.']).is_empty())
            });
            is_it && !is_refused
        })
    };
    match (file.br, file.gzip) {
        (Some(bytes), _) if takes("br") => (Some("br"), bytes),
        (_, Some(bytes)) if takes("gzip") => (Some("gzip"), bytes),
        (_, _) => (None, file.plain),
    }
}

fn placeholder() -> Response {
    (
        [
            (header::CONTENT_SECURITY_POLICY, PLACEHOLDER_POLICY),
            (header::CACHE_CONTROL, REVALIDATE),
        ],
        Html(include_str!("placeholder.html")),
    )
        .into_response()
}

/// What every answer tells a browser: no guessing of types, no addresses to other sites, no frames, and outside
/// development TLS only.
pub(super) async fn harden(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    );
    set(
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    );
    set(
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    );
    if state.config.environment == Environment::Production {
        set(header::STRICT_TRANSPORT_SECURITY, TRANSPORT_SECURITY);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    static FILES: [File; 3] = [
        File {
            path: "index.html",
            plain: b"<!doctype html>",
            br: None,
            gzip: Some(b"gz-index"),
        },
        File {
            path: "app-1a2b3c4d.wasm",
            plain: b"plain",
            br: Some(b"br-app"),
            gzip: Some(b"gz-app"),
        },
        File {
            path: "icon.svg",
            plain: b"<svg/>",
            br: None,
            gzip: None,
        },
    ];

    const GATEWAY: &str = "https://gateway.example.com:8443/rg";

    fn get(path: &str, given: &[(HeaderName, &str)]) -> Option<Response> {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.insert(name, value.parse().unwrap());
        }
        answer(
            Console(&FILES),
            GATEWAY,
            &Method::GET,
            &path.parse().unwrap(),
            &headers,
        )
    }

    async fn body(response: Response) -> Vec<u8> {
        axum::body::to_bytes(response.into_body(), 1000)
            .await
            .unwrap()
            .to_vec()
    }

    #[tokio::test]
    async fn a_browser_gets_the_form_that_it_takes() {
        for (accepted, encoding, bytes) in [
            ("gzip, deflate, br, zstd", Some("br"), b"br-app".as_slice()),
            ("br;q=0, gzip", Some("gzip"), b"gz-app"),
            ("GZIP;q=0.5", Some("gzip"), b"gz-app"),
            ("br;q=0.000", None, b"plain"),
            ("brotli", None, b"plain"),
            ("", None, b"plain"),
        ] {
            let response = get("/app-1a2b3c4d.wasm", &[(header::ACCEPT_ENCODING, accepted)]).unwrap();
            let found = response.headers().get(header::CONTENT_ENCODING);
            assert_eq!(found.map(|value| value.to_str().unwrap()), encoding, "{accepted}");
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/wasm");
            assert_eq!(response.headers()[header::VARY], "accept-encoding");
            assert_eq!(body(response).await, bytes, "{accepted}");
        }
    }

    #[tokio::test]
    async fn fingerprints_are_kept_for_ever_and_the_page_is_asked_about() {
        let caching = |response: &Response| {
            response.headers()[header::CACHE_CONTROL]
                .to_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(caching(&get("/app-1a2b3c4d.wasm", &[]).unwrap()), FOR_EVER);
        for path in ["/", "/keys", "/workspaces/1/keys", "/index.html", "/icon.svg"] {
            let response = get(path, &[]).unwrap();
            assert_eq!(caching(&response), "no-cache", "{path}");
            let tag = response.headers()[header::ETAG].to_str().unwrap().to_owned();
            let again = get(path, &[(header::IF_NONE_MATCH, &tag)]).unwrap();
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{path}");
            assert!(body(again).await.is_empty());
            let other_form = get(path, &[(header::IF_NONE_MATCH, "\"another\"")]).unwrap();
            assert_eq!(other_form.status(), StatusCode::OK, "{path}");
        }
    }

    #[test]
    fn ds_02_every_page_has_the_strict_policy() {
        let response = get("/login", &[]).unwrap();
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap();
        for part in [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "object-src 'none'",
            "base-uri 'none'",
            "connect-src 'self' https://gateway.example.com:8443",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(
            !policy.contains("unsafe-inline") && !policy.contains("/rg"),
            "{policy}"
        );
    }

    #[test]
    fn programs_and_missing_files_never_get_the_page() {
        for path in [
            "/api",
            "/api/nothing",
            "/v1/config:none",
            "/v3/x",
            "/app-00000000.js",
        ] {
            assert!(get(path, &[]).is_none(), "{path}");
        }
        assert!(get("/apis", &[]).is_some(), "a route of the console");
        let posted = answer(
            Console(&FILES),
            GATEWAY,
            &Method::POST,
            &"/keys".parse().unwrap(),
            &HeaderMap::new(),
        );
        assert!(posted.is_none());
    }

    #[test]
    fn without_a_console_there_is_the_placeholder_and_nothing_else() {
        let get = |path: &str| {
            answer(
                Console(&[]),
                GATEWAY,
                &Method::GET,
                &path.parse().unwrap(),
                &HeaderMap::new(),
            )
        };
        assert!(get("/").is_some());
        assert!(get("/keys").is_none());
    }
}
