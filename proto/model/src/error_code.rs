//! The error table of SPEC 1.8: one enum names status, code, type, log field and metric label.

/// Why the data plane refuses or fails a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    ValidationError,
    InvalidApiKey,
    BudgetExceeded,
    ExpiredApiKey,
    Forbidden,
    ApiInactive,
    ModelNotAllowed,
    ModelNotPriced,
    ApiNotFound,
    RequestTooLarge,
    RateLimited,
    InternalError,
    UpstreamError,
    CircuitOpen,
    NotReady,
    UpstreamTimeout,
}

impl ErrorCode {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ValidationError => "validation_error",
            Self::InvalidApiKey => "invalid_api_key",
            Self::BudgetExceeded => "budget_exceeded",
            Self::ExpiredApiKey => "expired_api_key",
            Self::Forbidden => "forbidden",
            Self::ApiInactive => "api_inactive",
            Self::ModelNotAllowed => "model_not_allowed",
            Self::ModelNotPriced => "model_not_priced",
            Self::ApiNotFound => "api_not_found",
            Self::RequestTooLarge => "request_too_large",
            Self::RateLimited => "rate_limited",
            Self::InternalError => "internal_error",
            Self::UpstreamError => "upstream_error",
            Self::CircuitOpen => "circuit_open",
            Self::NotReady => "not_ready",
            Self::UpstreamTimeout => "upstream_timeout",
        }
    }

    pub const fn status(self) -> u16 {
        match self {
            Self::ValidationError => 400,
            Self::InvalidApiKey => 401,
            Self::BudgetExceeded => 402,
            Self::ExpiredApiKey
            | Self::Forbidden
            | Self::ApiInactive
            | Self::ModelNotAllowed
            | Self::ModelNotPriced => 403,
            Self::ApiNotFound => 404,
            Self::RequestTooLarge => 413,
            Self::RateLimited => 429,
            Self::InternalError => 500,
            Self::UpstreamError => 502,
            Self::CircuitOpen | Self::NotReady => 503,
            Self::UpstreamTimeout => 504,
        }
    }

    /// `error.type`, as the OpenAI and Anthropic SDKs know it.
    pub const fn error_type(self) -> &'static str {
        match self.status() {
            400 => "invalid_request_error",
            401 => "authentication_error",
            402 => "billing_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            _ => "api_error",
        }
    }
}
