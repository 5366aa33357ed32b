//! Refusals: one enum, one body, `application/problem+json` (RFC 9457).

use crate::analytics::query::QueryError;
use crate::analytics::query::range::RangeError;
use crate::auth::password::HashError;
use crate::db::DbError;
use crate::limits::LimitsError;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rateguard_api::problem::{FieldError, Problem};

/// Why a request was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 400: not JSON, or not what the route reads.
    #[error("{0}")]
    Malformed(String),
    /// 401.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// 403.
    #[error("{0}")]
    Forbidden(&'static str),
    /// 404: no such thing, or somebody else's.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// 405.
    #[error("the route does not take this method")]
    MethodNotAllowed,
    /// 409: another one has this value, or the thing's state forbids it.
    #[error("{message}")]
    Conflict { field: &'static str, message: String },
    /// 412: `If-Match` names another version.
    #[error("it was changed since; read it again")]
    PreconditionFailed,
    /// 413.
    #[error("the body is larger than 1 MiB")]
    TooLarge,
    /// 415.
    #[error("the body must be application/json")]
    MediaType,
    /// 422: JSON of the wrong values.
    #[error("{}", first(.0))]
    Invalid(Vec<FieldError>),
    /// 422: known, but not enforced or priced yet.
    #[error("{}", first(.0))]
    NotSupported(Vec<FieldError>),
    /// 429.
    #[error("too many attempts; try again later")]
    TooMany { retry_after_s: u32 },
    /// 503: something that the answer needs is away.
    #[error("the {service} is not available")]
    Unavailable {
        service: &'static str,
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// 503: the operator has not set this up.
    #[error("{0}")]
    NotConfigured(&'static str),
    /// 500: a fault of ours; its text is for the log only.
    #[error("something went wrong on our side")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

fn first(errors: &[FieldError]) -> String {
    errors.first().map_or_else(
        || "the body is invalid".to_owned(),
        |e| format!("{}: {}", e.field, e.message),
    )
}

impl ApiError {
    /// A fault of ours.
    pub fn internal(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Internal(Box::new(error))
    }

    /// One field at fault.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError {
            field: field.into(),
            message: message.into(),
        }])
    }

    const fn status_code_title(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed", "The request cannot be read"),
            Self::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, "unauthenticated", "Sign in first"),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden", "Not allowed"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not_found", "Not found"),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "Method not allowed",
            ),
            Self::Conflict { .. } => (StatusCode::CONFLICT, "conflict", "In conflict with what is there"),
            Self::PreconditionFailed => (
                StatusCode::PRECONDITION_FAILED,
                "precondition_failed",
                "Changed by somebody else",
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                "The request is too large",
            ),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", "Not JSON"),
            Self::Invalid(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid",
                "The request has invalid values",
            ),
            Self::NotSupported(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "not_supported",
                "Not supported yet",
            ),
            Self::TooMany { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "Too many requests",
            ),
            Self::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available"),
            Self::NotConfigured(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_configured", "Not set up"),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
        }
    }

    fn log(&self) {
        if let Self::Internal(source)
        | Self::Unavailable {
            source: Some(source), ..
        } = self
        {
            let mut chain = source.to_string();
            let mut cause = source.source();
            while let Some(error) = cause {
                chain = format!("{chain}: {error}");
                cause = error.source();
            }
            tracing::error!(error = %chain, "request failed");
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.log();
        let (status, code, title) = self.status_code_title();
        let detail = self.to_string();
        let retry_after_s = match &self {
            Self::TooMany { retry_after_s } => Some(*retry_after_s),
            _ => None,
        };
        let errors = match self {
            Self::Invalid(errors) | Self::NotSupported(errors) => errors,
            Self::Conflict { field, message } if !field.is_empty() => {
                vec![FieldError {
                    field: field.to_owned(),
                    message,
                }]
            }
            _ => Vec::new(),
        };
        let problem = Problem {
            kind: format!("urn:rateguard:problem:{code}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail,
            code: code.to_owned(),
            errors,
        };
        let mut response = (status, axum::Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        if error.is_unavailable() {
            return Self::Unavailable {
                service: "database",
                source: Some(Box::new(error)),
            };
        }
        Self::internal(error)
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        DbError::from(error).into()
    }
}

impl From<LimitsError> for ApiError {
    fn from(error: LimitsError) -> Self {
        Self::Unavailable {
            service: "limit service",
            source: Some(Box::new(error)),
        }
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Away(_) => Self::Unavailable {
                service: "analytics store (ClickHouse)",
                source: Some(Box::new(error)),
            },
            QueryError::TooMuch(_) => Self::invalid(
                "start",
                "the answer needs more than one request may take; ask for a shorter range or filter",
            ),
            QueryError::Refused(_) => Self::internal(error),
        }
    }
}

impl From<RangeError> for ApiError {
    fn from(error: RangeError) -> Self {
        Self::invalid(error.field, error.message)
    }
}

impl ApiError {
    /// 429, to be tried again after so many milliseconds.
    pub(crate) fn too_many(wait_ms: i64) -> Self {
        let seconds = u32::try_from(wait_ms.max(1).unsigned_abs().div_ceil(1_000));
        Self::TooMany {
            retry_after_s: seconds.unwrap_or(u32::MAX),
        }
    }
}

impl From<HashError> for ApiError {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Busy => Self::TooMany { retry_after_s: 5 },
            HashError::Bcrypt(_) | HashError::Ended(_) => Self::internal(error),
        }
    }
}

/// Collects what is wrong with a body, so that all of it is reported at once.
#[derive(Default)]
pub struct Faults {
    invalid: Vec<FieldError>,
    not_supported: Vec<FieldError>,
}

impl Faults {
    pub fn invalid(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.invalid.push(FieldError {
            field: field.into(),
            message: message.into(),
        });
    }

    /// Known, but not enforced or priced by the data plane yet.
    pub fn not_supported(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.not_supported.push(FieldError {
            field: field.into(),
            message: message.into(),
        });
    }

    /// The value, if nothing was wrong.
    pub fn finish<T>(mut self, value: T) -> Result<T, ApiError> {
        if self.invalid.is_empty() && self.not_supported.is_empty() {
            return Ok(value);
        }
        if self.invalid.is_empty() {
            return Err(ApiError::NotSupported(self.not_supported));
        }
        self.invalid.extend(self.not_supported);
        Err(ApiError::Invalid(self.invalid))
    }
}
