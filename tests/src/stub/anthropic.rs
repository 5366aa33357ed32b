//! Anthropic Messages, as its API reference spells them: named events, pings, overlapping usage in `message_start`
//! and `message_delta`.

use super::control::{Control, Usage};
use serde_json::Value;

const ID: &str = "msg_013Zva2CMHLNnXjNJJKqJ2EF";

pub(super) fn message(request: &Value, text: &str, control: &Control) -> String {
    let usage = control
        .tokens()
        .map(|u| format!(",\"usage\":{}", usage(u, u.completion)))
        .unwrap_or_default();
    format!(
        "{{\"model\":{},\"id\":\"{ID}\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[{{\"type\":\"text\",\"text\":{}}}],\
         \"stop_reason\":\"end_turn\",\"stop_sequence\":null{usage}}}",
        model(request),
        Value::from(text)
    )
}

pub(super) fn stream(request: &Value, words: &[String], control: &Control) -> Vec<String> {
    let tokens = control.tokens();
    let start_usage = tokens
        .map(|u| format!(",\"usage\":{}", usage(u, 1)))
        .unwrap_or_default();
    let mut events = vec![
        event(
            "message_start",
            &format!(
                "{{\"type\":\"message_start\",\"message\":{{\"model\":{},\"id\":\"{ID}\",\"type\":\"message\",\"role\":\"assistant\",\
                 \"content\":[],\"stop_reason\":null,\"stop_sequence\":null{start_usage}}}}}",
                model(request)
            ),
        ),
        event(
            "content_block_start",
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        ),
        event("ping", r#"{"type": "ping"}"#),
    ];
    events.extend(words.iter().map(|word| {
        event(
            "content_block_delta",
            &format!(
                "{{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":{}}}}}",
                Value::from(word.as_str())
            ),
        )
    }));
    events.push(event(
        "content_block_stop",
        r#"{"type":"content_block_stop","index":0}"#,
    ));
    // message_delta repeats the totals so far: they replace those of message_start.
    let end_usage = tokens
        .map(|u| format!(",\"usage\":{}", usage(u, u.completion)))
        .unwrap_or_default();
    events.push(event(
        "message_delta",
        &format!("{{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"end_turn\",\"stop_sequence\":null}}{end_usage}}}"),
    ));
    events.push(event("message_stop", r#"{"type":"message_stop"}"#));
    events
}

pub(super) fn error(status: u16) -> String {
    let (kind, message) = match status {
        400 => ("invalid_request_error", "max_tokens: Field required"),
        401 => ("authentication_error", "invalid x-api-key"),
        404 => ("not_found_error", "Not found"),
        429 => (
            "rate_limit_error",
            "Number of request tokens has exceeded your per-minute rate limit",
        ),
        529 => ("overloaded_error", "Overloaded"),
        _ => ("api_error", "Internal server error"),
    };
    format!(
        "{{\"type\":\"error\",\"error\":{{\"type\":\"{kind}\",\"message\":\"{message}\"}},\"request_id\":\"req_011CSHoEeqs5C35K2UUqR7Fy\"}}"
    )
}

fn event(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

fn model(request: &Value) -> Value {
    request
        .get("model")
        .cloned()
        .unwrap_or_else(|| Value::from("claude-sonnet-4-5-20250929"))
}

/// Anthropic's `input_tokens` exclude the cached ones.
fn usage(u: Usage, output: u64) -> String {
    let fresh = u.prompt.saturating_sub(u.cached);
    format!(
        "{{\"input_tokens\":{fresh},\"cache_creation_input_tokens\":{},\"cache_read_input_tokens\":{},\"cache_creation\":\
         {{\"ephemeral_5m_input_tokens\":{},\"ephemeral_1h_input_tokens\":{}}},\"output_tokens\":{output},\"service_tier\":\"standard\"}}",
        u.cache_write_5m + u.cache_write_1h,
        u.cached,
        u.cache_write_5m,
        u.cache_write_1h
    )
}
