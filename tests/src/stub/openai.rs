//! OpenAI Chat Completions, as its API reference spells them: field order, chunk objects, `[DONE]`.

use super::control::{Control, Usage};
use serde_json::Value;

pub(super) const SYSTEM_FINGERPRINT: &str = "fp_44709d6fcb";
const CREATED: u64 = 1_741_569_952;

pub(super) fn completion(request: &Value, text: &str, control: &Control) -> String {
    let model = model(request);
    let usage = control
        .tokens()
        .map(|u| format!(",\n  \"usage\": {}", usage(u, "  ")))
        .unwrap_or_default();
    format!(
        "{{\n  \"id\": \"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT\",\n  \"object\": \"chat.completion\",\n  \"created\": {CREATED},\n  \
         \"model\": {model},\n  \"choices\": [\n    {{\n      \"index\": 0,\n      \"message\": {{\n        \"role\": \"assistant\",\n        \
         \"content\": {},\n        \"refusal\": null,\n        \"annotations\": []\n      }},\n      \"logprobs\": null,\n      \
         \"finish_reason\": \"stop\"\n    }}\n  ]{usage},\n  \"service_tier\": \"default\",\n  \"system_fingerprint\": \"{SYSTEM_FINGERPRINT}\"\n}}\n",
        Value::from(text)
    )
}

/// The events of a streamed completion, each with its blank line.
pub(super) fn stream(request: &Value, words: &[String], control: &Control) -> Vec<String> {
    let model = model(request);
    let wants_usage = request
        .pointer("/stream_options/include_usage")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    // With include_usage every chunk but the last carries `"usage":null`.
    let null_usage = if wants_usage { ",\"usage\":null" } else { "" };
    let head = format!(
        "data: {{\"id\":\"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG\",\"object\":\"chat.completion.chunk\",\"created\":{CREATED},\"model\":{model},\
         \"service_tier\":\"default\",\"system_fingerprint\":\"{SYSTEM_FINGERPRINT}\""
    );
    let chunk = |delta: &str, finish: &str| {
        format!(
            "{head},\"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{finish}}}]{null_usage}}}\n\n"
        )
    };
    let mut events = vec![chunk(
        r#"{"role":"assistant","content":"","refusal":null}"#,
        "null",
    )];
    events.extend(
        words
            .iter()
            .map(|word| chunk(&format!("{{\"content\":{}}}", Value::from(word.as_str())), "null")),
    );
    events.push(chunk("{}", "\"stop\""));
    if wants_usage && let Some(figures) = control.tokens() {
        let compact: Value = serde_json::from_str(&usage(figures, "")).unwrap_or_default();
        events.push(format!("{head},\"choices\":[],\"usage\":{compact}}}\n\n"));
    }
    events.push("data: [DONE]\n\n".to_owned());
    events
}

pub(super) fn error(status: u16) -> String {
    let (message, kind, code) = match status {
        400 => (
            "Invalid value for 'model'.",
            "invalid_request_error",
            "\"invalid_value\"",
        ),
        401 => (
            "Incorrect API key provided.",
            "invalid_request_error",
            "\"invalid_api_key\"",
        ),
        404 => ("Unknown request URL.", "invalid_request_error", "\"unknown_url\""),
        429 => (
            "Rate limit reached for gpt-4o-mini.",
            "tokens",
            "\"rate_limit_exceeded\"",
        ),
        _ => (
            "The server had an error while processing your request.",
            "server_error",
            "null",
        ),
    };
    format!(
        "{{\n    \"error\": {{\n        \"message\": \"{message}\",\n        \"type\": \"{kind}\",\n        \"param\": null,\n        \"code\": {code}\n    }}\n}}\n"
    )
}

fn model(request: &Value) -> Value {
    request
        .get("model")
        .cloned()
        .unwrap_or_else(|| Value::from("gpt-4o-mini-2024-07-18"))
}

fn usage(u: Usage, indent: &str) -> String {
    let total = u.prompt + u.completion;
    format!(
        "{{\n{indent}  \"prompt_tokens\": {},\n{indent}  \"completion_tokens\": {},\n{indent}  \"total_tokens\": {total},\n\
         {indent}  \"prompt_tokens_details\": {{\n{indent}    \"cached_tokens\": {},\n{indent}    \"audio_tokens\": 0\n{indent}  }},\n\
         {indent}  \"completion_tokens_details\": {{\n{indent}    \"reasoning_tokens\": {},\n{indent}    \"audio_tokens\": 0,\n\
         {indent}    \"accepted_prediction_tokens\": 0,\n{indent}    \"rejected_prediction_tokens\": 0\n{indent}  }}\n{indent}}}",
        u.prompt, u.completion, u.cached, u.reasoning
    )
}
