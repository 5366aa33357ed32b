//! Envoy's admin interface: it runs, our filter is in the chain with the settings that keep requests from leaking
//! (DESIGN facts 1, 4), and it is a version that this control plane was made with.

use super::{Check, whole};
use serde_json::Value;

const ENVOY: &str = "Envoy";
const FILTER: &str = "filter in the chain";
const VERSION: &str = "filter version";
const FILTER_TYPE: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
/// The filter's gauge whose name ends with its version.
const VERSION_METRIC: &str = "rateguard_filter_version_";

pub(super) async fn check(client: &reqwest::Client, url: Option<&str>) -> Vec<Check> {
    let Some(url) = url else {
        return vec![Check::skipped(ENVOY, "ENVOY_ADMIN_URL")];
    };
    let info = match json(client, &format!("{url}/server_info")).await {
        Ok(info) => info,
        Err(found) => {
            return vec![Check::failed(
                ENVOY,
                found,
                "start Envoy, or correct ENVOY_ADMIN_URL (its admin address)",
            )];
        }
    };
    let filter = match json(client, &format!("{url}/config_dump")).await {
        Ok(dump) => filter(&dump),
        Err(found) => Check::failed(FILTER, found, "Envoy's admin interface must answer /config_dump"),
    };
    let stats = text(client, &format!("{url}/stats?filter={VERSION_METRIC}")).await;
    vec![server(&info), filter, version(&stats.unwrap_or_default())]
}

async fn text(client: &reqwest::Client, url: &str) -> Result<String, String> {
    let answer = client
        .get(url)
        .send()
        .await
        .map_err(|error| whole(&error.without_url()))?;
    if !answer.status().is_success() {
        return Err(format!("answered {}", answer.status()));
    }
    answer.text().await.map_err(|error| whole(&error.without_url()))
}

async fn json(client: &reqwest::Client, url: &str) -> Result<Value, String> {
    let text = text(client, url).await?;
    serde_json::from_str(&text).map_err(|_| "answered something that is not JSON".to_owned())
}

fn server(info: &Value) -> Check {
    let state = info["state"].as_str().unwrap_or("unknown");
    // "<commit>/1.40.0/Clean/RELEASE/BoringSSL".
    let version = info["version"]
        .as_str()
        .and_then(|text| text.split('/').nth(1))
        .unwrap_or("unknown");
    let found = format!("Envoy {version}, {state}");
    if state == "LIVE" {
        Check::ok(ENVOY, found)
    } else {
        Check::failed(
            ENVOY,
            found,
            "wait, or look at Envoy's log: it does not take requests yet, or drains",
        )
    }
}

fn filter(dump: &Value) -> Check {
    let mut found = Vec::new();
    collect(dump, &mut found);
    let ours = found
        .iter()
        .find(|config| config["name"] == "rateguard" || config["root_id"] == "rateguard");
    let Some(config) = ours else {
        return Check::failed(
            FILTER,
            "no listener has it: requests pass ungoverned",
            "put the filter into http_filters as envoy/gateway.yaml does",
        );
    };
    if config["failure_policy"] != "FAIL_RELOAD" {
        return Check::failed(
            FILTER,
            "failure_policy is not FAIL_RELOAD: after a fault it never recovers, or lets everything through",
            "set failure_policy: FAIL_RELOAD in the filter's config",
        );
    }
    if config["allow_on_headers_stop_iteration"] != true {
        return Check::warning(
            FILTER,
            "allow_on_headers_stop_iteration is off: response headers cannot wait for the cost",
            "set allow_on_headers_stop_iteration: true in the filter's config",
        );
    }
    Check::ok(FILTER, "with FAIL_RELOAD")
}

/// The plugin configurations of all WASM filters, wherever a dump has them.
fn collect<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(fields) => {
            if fields.get("@type").and_then(Value::as_str) == Some(FILTER_TYPE)
                && let Some(config) = fields.get("config")
            {
                found.push(config);
            }
            fields.values().for_each(|field| collect(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

fn version(stats: &str) -> Check {
    let running = stats.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let (_, version) = name.split_once(VERSION_METRIC)?;
        (value.trim() != "0").then(|| version.replace('_', "."))
    });
    let ours = env!("CARGO_PKG_VERSION");
    let minor = |version: &str| version.rsplit_once('.').map(|(minor, _)| minor.to_owned());
    match running {
        Some(version) if version == ours => Check::ok(VERSION, version),
        Some(version) if minor(&version) == minor(ours) => {
            Check::ok(VERSION, format!("{version}, with {ours} here"))
        }
        Some(version) => Check::warning(
            VERSION,
            format!("{version}, with {ours} here"),
            "upgrade the filter; one version apart works while rolling out",
        ),
        None => Check::failed(
            VERSION,
            "the filter does not tell: it has not started, or is older than 0.1",
            "look at Envoy's log for lines of wasm, and that FILTER_WASM is the file of this release",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Outcome;
    use serde_json::json;

    fn dump(config: &Value) -> Value {
        json!({"configs": [{"static_listeners": [{"listener": {"filter_chains": [
            {"typed_config": {"@type": FILTER_TYPE, "config": config}}
        ]}}]}]})
    }

    #[test]
    fn a_chain_that_leaks_is_told() {
        let good = json!({"name": "rateguard", "failure_policy": "FAIL_RELOAD", "allow_on_headers_stop_iteration": true});
        assert_eq!(filter(&dump(&good)).outcome, Outcome::Ok);
        let mut open = good.clone();
        open["failure_policy"] = "FAIL_OPEN".into();
        assert_eq!(filter(&dump(&open)).outcome, Outcome::Failed);
        let mut other = good;
        other["name"] = "another".into();
        assert_eq!(filter(&dump(&other)).outcome, Outcome::Failed);
        assert_eq!(filter(&json!({"configs": []})).outcome, Outcome::Failed);
    }

    #[test]
    fn the_version_is_read_from_the_metrics_name() {
        let ours = format!(
            "wasmcustom.{VERSION_METRIC}{}: 1\n",
            env!("CARGO_PKG_VERSION").replace('.', "_")
        );
        assert_eq!(version(&ours).outcome, Outcome::Ok);
        assert_eq!(
            version("wasmcustom.rateguard_filter_version_9_9_9: 1\n").outcome,
            Outcome::Warning
        );
        assert_eq!(version("").outcome, Outcome::Failed);
    }
}
