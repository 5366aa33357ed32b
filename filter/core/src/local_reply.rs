//! Envoy's own answers, mapped to the table of errors (SPEC 1.8) by their `response.code_details`.

use crate::config::Mode;
use rateguard_model::error_code::ErrorCode;

/// What an answer that no upstream gave means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalReply {
    /// Stays as it is: redirects, preflights, direct responses, other filters' answers in a mesh.
    Keep,
    Map {
        code: ErrorCode,
        /// Whether the upstream may have seen the request.
        reached_upstream: bool,
    },
}

/// Details that begin so; the first that fits counts. From Envoy's `response_code_details`.
const KNOWN: [(&str, ErrorCode, bool); 22] = [
    // The address that the upstream's name resolves to may not be reached; the cluster's guard says so.
    (
        "rbac_access_denied_matched_policy[rateguard_upstream_address]",
        ErrorCode::UpstreamError,
        false,
    ),
    ("cluster_not_found", ErrorCode::NotReady, false),
    ("route_not_found", ErrorCode::ApiNotFound, false),
    ("no_healthy_upstream", ErrorCode::UpstreamError, false),
    (
        "upstream_reset_before_response_started{overflow",
        ErrorCode::CircuitOpen,
        false,
    ),
    (
        "upstream_reset_before_response_started{connection_failure",
        ErrorCode::UpstreamError,
        false,
    ),
    (
        "upstream_reset_before_response_started{local_connection_failure",
        ErrorCode::UpstreamError,
        false,
    ),
    (
        "upstream_reset_before_response_started{remote_connection_failure",
        ErrorCode::UpstreamError,
        false,
    ),
    (
        "upstream_reset_before_response_started{connection_timeout",
        ErrorCode::UpstreamTimeout,
        false,
    ),
    ("upstream_reset", ErrorCode::UpstreamError, true),
    ("upstream_per_try_timeout", ErrorCode::UpstreamTimeout, true),
    ("upstream_per_try_idle_timeout", ErrorCode::UpstreamTimeout, true),
    ("upstream_response_timeout", ErrorCode::UpstreamTimeout, true),
    ("response_timeout", ErrorCode::UpstreamTimeout, true),
    (
        "upstream_max_stream_duration_reached",
        ErrorCode::UpstreamTimeout,
        true,
    ),
    ("stream_idle_timeout", ErrorCode::UpstreamTimeout, true),
    ("request_payload_too_large", ErrorCode::RequestTooLarge, false),
    ("upgrade_failed", ErrorCode::Forbidden, false),
    ("request_headers_too_large", ErrorCode::ValidationError, false),
    ("maintenance_mode", ErrorCode::CircuitOpen, false),
    ("overload", ErrorCode::CircuitOpen, false),
    ("upstream_response", ErrorCode::UpstreamError, true),
];

/// Details that are somebody's intended answer.
const INTENDED: [&str; 4] = ["direct_response", "health_check", "cors", "via_upstream"];

/// Reads status and details of an answer without the marks of an upstream's.
pub fn read(status: u16, details: &[u8], mode: Mode) -> LocalReply {
    if INTENDED
        .iter()
        .any(|intended| details.starts_with(intended.as_bytes()))
    {
        return LocalReply::Keep;
    }
    if let Some((_, code, reached_upstream)) = KNOWN
        .iter()
        .find(|(known, _, _)| details.starts_with(known.as_bytes()))
    {
        return LocalReply::Map {
            code: *code,
            reached_upstream: *reached_upstream,
        };
    }
    // In a mesh an unknown answer is some other filter's, meant as it is. Our gateway has none but Envoy's.
    match (mode, by_status(status)) {
        (Mode::Gateway, Some(code)) => LocalReply::Map {
            code,
            reached_upstream: false,
        },
        (Mode::Gateway | Mode::DropIn, _) => LocalReply::Keep,
    }
}

fn by_status(status: u16) -> Option<ErrorCode> {
    Some(match status {
        403 => ErrorCode::Forbidden,
        404 => ErrorCode::ApiNotFound,
        413 => ErrorCode::RequestTooLarge,
        429 => ErrorCode::RateLimited,
        400..=499 => ErrorCode::ValidationError,
        502 => ErrorCode::UpstreamError,
        503 => ErrorCode::CircuitOpen,
        504 => ErrorCode::UpstreamTimeout,
        500..=599 => ErrorCode::InternalError,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_decide_before_the_status() {
        for (status, details, code, reached) in [
            (503, "cluster_not_found", ErrorCode::NotReady, false),
            (
                503,
                "upstream_reset_before_response_started{overflow}",
                ErrorCode::CircuitOpen,
                false,
            ),
            (
                503,
                "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}",
                ErrorCode::UpstreamError,
                false,
            ),
            (
                503,
                "upstream_reset_before_response_started{connection_termination}",
                ErrorCode::UpstreamError,
                true,
            ),
            (503, "no_healthy_upstream", ErrorCode::UpstreamError, false),
            (504, "upstream_per_try_timeout", ErrorCode::UpstreamTimeout, true),
            (
                413,
                "request_payload_too_large",
                ErrorCode::RequestTooLarge,
                false,
            ),
            (500, "something_new", ErrorCode::InternalError, false),
            (408, "request_overall_timeout", ErrorCode::ValidationError, false),
        ] {
            assert_eq!(
                read(status, details.as_bytes(), Mode::Gateway),
                LocalReply::Map {
                    code,
                    reached_upstream: reached
                },
                "{details}"
            );
        }
    }

    #[test]
    fn intended_answers_stay() {
        assert_eq!(read(200, b"direct_response", Mode::Gateway), LocalReply::Keep);
        assert_eq!(read(404, b"via_upstream", Mode::DropIn), LocalReply::Keep);
        assert_eq!(read(403, b"ext_authz_denied", Mode::DropIn), LocalReply::Keep);
        assert_eq!(read(301, b"path_normalization", Mode::Gateway), LocalReply::Keep);
    }
}
