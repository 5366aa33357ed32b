//! `Debug` of messages that hold an upstream credential: prost asks for it, a log must not show the secret.

use crate::v1::{ApiKeyHeader, UpstreamAuth, upstream_auth::Kind};
use std::fmt;

impl fmt::Debug for UpstreamAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind } = self;
        f.debug_struct("UpstreamAuth").field("kind", kind).finish()
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None(_) => "None",
            Self::Bearer(_) => "Bearer(…)",
            Self::ApiKeyHeader(_) => "ApiKeyHeader(…)",
            Self::Basic(_) => "Basic(…)",
        })
    }
}

impl fmt::Debug for ApiKeyHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            header_name,
            value: _,
        } = self;
        f.debug_struct("ApiKeyHeader")
            .field("header_name", header_name)
            .finish_non_exhaustive()
    }
}
