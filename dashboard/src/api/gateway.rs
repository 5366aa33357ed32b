//! A call through the gateway, as an application makes it: the one that does not go to the control plane.

use gloo_net::http::{Method, RequestBuilder};
use web_sys::RequestCredentials;

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    pub status: u16,
    /// Those of [`HEADERS`] that it has.
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

/// What the gateway says about a call (SPEC 1.7).
const HEADERS: [&str; 11] = [
    "x-rateguard-request-id",
    "x-rateguard-cost-cents",
    "x-rateguard-tokens-input",
    "x-rateguard-tokens-output",
    "x-rateguard-latency-ms",
    "x-rateguard-upstream-latency-ms",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-rateguard-budget-remaining",
    "x-rateguard-degraded",
    "retry-after",
];
/// Of the body, in characters: enough to see that it is the right one.
const BODY_MAX: usize = 20_000;

/// Makes the call; `None` if there was no answer. It carries no cookie.
pub async fn call(url: &str, headers: &[(&'static str, String)], body: &str) -> Option<Answered> {
    let method = if body.is_empty() {
        Method::GET
    } else {
        Method::POST
    };
    let mut request = RequestBuilder::new(url)
        .method(method)
        .credentials(RequestCredentials::Omit);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let sent = if body.is_empty() {
        request.send().await
    } else {
        let request = request.header("content-type", "application/json");
        request.body(body).ok()?.send().await
    };
    let answer = sent.ok()?;
    let given = answer.headers();
    let headers = HEADERS
        .into_iter()
        .filter_map(|name| Some((name, given.get(name)?)));
    let headers = headers.collect();
    let body = answer.text().await.ok()?;
    Some(Answered {
        status: answer.status(),
        headers,
        body: body.chars().take(BODY_MAX).collect(),
    })
}
