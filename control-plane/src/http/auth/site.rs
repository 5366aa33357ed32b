//! Writes under `/api/auth`, where the cookie goes, come from our own pages or from programs (DS-03).

use crate::http::error::ApiError;
use crate::state::AppState;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;

/// Refuses writes that another site's page sends. Programs send neither header.
pub(super) async fn refuse_cross_site(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if !request.method().is_safe() && is_cross_site(request.headers(), &state.config.console_public_url) {
        return Err(ApiError::Forbidden("the request comes from another site"));
    }
    Ok(next.run(request).await)
}

fn is_cross_site(headers: &HeaderMap, console_url: &str) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return !matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    let Ok(origin) = origin.to_str() else {
        return true;
    };
    // A proxy in front may have put another Host in.
    let console = url::Url::parse(console_url).map(|url| url.origin().ascii_serialization());
    if console.is_ok_and(|console| console == origin) {
        return false;
    }
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    match (authority, host) {
        (Some(authority), Some(host)) => !authority.eq_ignore_ascii_case(host),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ds_03_only_the_own_site_and_programs_may_write() {
        for (headers, cross) in [
            (&[][..], false),
            (&[("sec-fetch-site", "same-origin")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "cross-site")], true),
            (&[("sec-fetch-site", "same-site")], true),
            (
                &[("origin", "https://console.test"), ("host", "console.test")],
                false,
            ),
            (
                &[("origin", "http://localhost:3000"), ("host", "localhost:3000")],
                false,
            ),
            (
                &[("origin", "http://localhost:3001"), ("host", "localhost:3000")],
                true,
            ),
            (&[("origin", "https://evil.test"), ("host", "console.test")], true),
            (&[("origin", "null"), ("host", "console.test")], true),
            (&[("origin", "https://console.test")], true),
            (
                &[("origin", "https://rateguard.test"), ("host", "10.0.0.1:3000")],
                false,
            ),
        ] {
            let map: HeaderMap = headers
                .iter()
                .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()))
                .collect();
            assert_eq!(
                is_cross_site(&map, "https://rateguard.test"),
                cross,
                "{headers:?}"
            );
        }
    }
}
