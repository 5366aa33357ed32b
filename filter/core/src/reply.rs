//! Errors in one shape, which the OpenAI and the Anthropic SDKs both parse (SPEC 1.8).

use crate::effect::Reply;
use crate::text::HeaderText;
use rateguard_model::error_code::ErrorCode;
use rateguard_model::id::RequestId;
use serde::Serialize;
use serde_json::{Map, Value};

/// Our own header with the request's id.
pub const REQUEST_ID: &str = "x-rateguard-request-id";

/// Why a request gets an answer from us, and what the answer adds.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    pub code: ErrorCode,
    /// For the client: constant, or of the operator's own words (rule and budget names); never of the client's.
    pub message: String,
    pub details: Map<String, Value>,
    pub retry_after_s: Option<u64>,
}

impl Refusal {
    pub fn new(code: ErrorCode) -> Self {
        Self::with_message(code, message(code))
    }

    pub fn with_message(code: ErrorCode, message: impl Into<String>) -> Self {
        let retry_after_s = (code == ErrorCode::NotReady).then_some(1);
        Self {
            code,
            message: message.into(),
            details: Map::new(),
            retry_after_s,
        }
    }

    /// A budget's ledger is away or being restored: nobody said that the budget is used up.
    pub fn for_want_of_the_ledger(&mut self) {
        if self.code == ErrorCode::BudgetExceeded {
            "What is left of the budget is not known at the moment.".clone_into(&mut self.message);
            self.retry_after_s = Some(1);
        }
    }

    pub fn detail(&mut self, name: &str, value: impl Into<Value>) {
        self.details.insert(name.to_owned(), value.into());
    }

    pub fn body(&self, id: &RequestId) -> String {
        let body = Body {
            kind: "error",
            error: Error {
                kind: self.code.error_type(),
                code: self.code.as_str(),
                message: &self.message,
                param: None,
                details: &self.details,
            },
            request_id: id.to_string(),
        };
        // The types above always serialise.
        serde_json::to_string(&body).unwrap_or_default()
    }

    /// Headers that belong to the error, the request's id first.
    pub fn headers(&self, id: &RequestId) -> HeaderText {
        let mut headers = HeaderText::with_capacity(8);
        headers.push(REQUEST_ID, id);
        headers.push_str("content-type", "application/json");
        if let Some(seconds) = self.retry_after_s {
            headers.push("retry-after", seconds);
        }
        if self.code == ErrorCode::BudgetExceeded {
            headers.push_str("x-should-retry", "false");
        }
        headers
    }

    /// The whole answer; `more` are headers that other modules have to say.
    pub fn reply(&self, id: &RequestId, more: &HeaderText) -> Reply {
        let own = self.headers(id);
        Reply {
            status: self.code.status(),
            headers: own
                .iter()
                .chain(more.iter())
                .map(|(name, value)| (name, value.to_owned()))
                .collect(),
            body: self.body(id),
        }
    }
}

/// A constant per code: what differs goes into the details.
fn message(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::ValidationError => "The request is malformed.",
        ErrorCode::InvalidApiKey => "The API key is missing or not valid.",
        ErrorCode::BudgetExceeded => "The budget is used up.",
        ErrorCode::ExpiredApiKey => "The API key has expired.",
        ErrorCode::Forbidden => "This request is not allowed.",
        ErrorCode::ApiInactive => "This API is switched off.",
        ErrorCode::ModelNotAllowed => "The API key may not use this model.",
        ErrorCode::ModelNotPriced => "This model has no price, and the workspace blocks models without one.",
        ErrorCode::ApiNotFound => "There is no such API in the key's workspace.",
        ErrorCode::RequestTooLarge => "The request body is too large.",
        ErrorCode::RateLimited => "Too many requests.",
        ErrorCode::InternalError => "Something went wrong in the gateway.",
        ErrorCode::UpstreamError => "The upstream could not be reached or broke off.",
        ErrorCode::CircuitOpen => "The upstream is overloaded; requests are being held off.",
        ErrorCode::NotReady => "The gateway has no configuration for this request yet.",
        ErrorCode::UpstreamTimeout => "The upstream did not answer in time.",
    }
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    error: Error<'a>,
    #[serde(rename = "requestId")]
    request_id: String,
}

#[derive(Serialize)]
struct Error<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    code: &'static str,
    message: &'a str,
    param: Option<()>,
    details: &'a Map<String, Value>,
}
