//! Requests through the real listener: a bad key is refused by us, a good one is not.

use super::{Check, whole};
use crate::config::Secret;
use reqwest::StatusCode;
use serde_json::Value;

const BAD_KEY: &str = "gateway refuses a bad key";
const GOOD_KEY: &str = "gateway takes a good key";
/// A key of the right form, checksum included (SPEC 1.1), that nobody has.
const UNKNOWN: &str = "rg_live_K7dF9xQ2mN8bV3hJ5wR1tY6uI00LPdnF";
/// A slug that no API can have, so that a good key is recognised and nothing reaches an upstream.
const PATH: &str = "/proxy/_doctor/probe";

pub(super) async fn check(
    client: &reqwest::Client,
    url: Option<&str>,
    api_key: Option<&Secret>,
) -> Vec<Check> {
    let Some(url) = url else {
        return vec![Check::skipped(BAD_KEY, "GATEWAY_PUBLIC_URL")];
    };
    let target = format!("{url}{PATH}");
    let bad = match ask(client, &target, UNKNOWN).await {
        Ok(answer) => judge_bad(&answer),
        Err(found) => {
            return vec![Check::failed(
                BAD_KEY,
                found,
                "start Envoy, or correct GATEWAY_PUBLIC_URL (what applications call)",
            )];
        }
    };
    let good = match api_key {
        None => Check::skipped(GOOD_KEY, "DOCTOR_API_KEY"),
        Some(key) => match ask(client, &target, key.expose()).await {
            Ok(answer) => judge_good(&answer),
            Err(found) => Check::failed(GOOD_KEY, found, "look at Envoy's log"),
        },
    };
    vec![bad, good]
}

struct Answer {
    status: StatusCode,
    /// `error.code` of our shape, if the answer has it.
    code: Option<String>,
}

async fn ask(client: &reqwest::Client, url: &str, key: &str) -> Result<Answer, String> {
    let sent = client.get(url).bearer_auth(key).send().await;
    let answer = sent.map_err(|error| whole(&error.without_url()))?;
    let status = answer.status();
    let body: Value = answer.json().await.unwrap_or(Value::Null);
    let is_ours = body["type"] == "error" && body["requestId"].is_string();
    let code = body["error"]["code"]
        .as_str()
        .filter(|_| is_ours)
        .map(str::to_owned);
    Ok(Answer { status, code })
}

fn judge_bad(answer: &Answer) -> Check {
    let Answer { status, code } = answer;
    match (status.as_u16(), code.as_deref()) {
        (401, Some("invalid_api_key")) => Check::ok(BAD_KEY, "401 invalid_api_key"),
        (503, Some("not_ready")) => Check::failed(
            BAD_KEY,
            "503 not_ready: the filter has no configuration yet",
            "look at the control plane's log for polls; the filter's token and controlPlaneCluster must be right",
        ),
        (_, Some(code)) => Check::failed(BAD_KEY, format!("{status} {code}"), "look at Envoy's log"),
        (_, None) => Check::failed(
            BAD_KEY,
            format!("{status} without our error: the filter is not in force there"),
            "is GATEWAY_PUBLIC_URL the gateway's address, and is the filter in its chain?",
        ),
    }
}

fn judge_good(answer: &Answer) -> Check {
    let Answer { status, code } = answer;
    let code = code.as_deref().unwrap_or("without our error");
    match (status.as_u16(), code) {
        // The key is known; there is no such API.
        (404, "api_not_found") => Check::ok(GOOD_KEY, "recognised"),
        (401 | 403, _) => Check::failed(
            GOOD_KEY,
            format!("{status} {code}"),
            "set DOCTOR_API_KEY to a key that is active; if it is, this gateway's configuration is old (data planes in the console)",
        ),
        _ => Check::failed(GOOD_KEY, format!("{status} {code}"), "look at Envoy's log"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Outcome;

    fn answer(status: u16, code: Option<&str>) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            code: code.map(str::to_owned),
        }
    }

    #[test]
    fn only_our_own_refusal_proves_the_filter() {
        assert_eq!(
            judge_bad(&answer(401, Some("invalid_api_key"))).outcome,
            Outcome::Ok
        );
        for other in [
            answer(401, None),
            answer(200, None),
            answer(503, Some("not_ready")),
        ] {
            assert_eq!(judge_bad(&other).outcome, Outcome::Failed);
        }
        assert_eq!(
            judge_good(&answer(404, Some("api_not_found"))).outcome,
            Outcome::Ok
        );
        for other in [
            answer(401, Some("invalid_api_key")),
            answer(404, None),
            answer(403, Some("expired_api_key")),
        ] {
            assert_eq!(judge_good(&other).outcome, Outcome::Failed);
        }
    }
}
