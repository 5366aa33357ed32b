//! The event bus and the analytics store: whether they can be reached.

use super::{Check, TIMEOUT, whole};
use tokio::net::TcpStream;

const BUS: &str = "event bus";
const STORE: &str = "analytics store";

/// Every broker accepts a connection.
pub(super) async fn brokers(brokers: &[String]) -> Vec<Check> {
    if brokers.is_empty() {
        return vec![Check::skipped(BUS, "KAFKA_BROKERS")];
    }
    let mut away = Vec::new();
    for broker in brokers {
        match tokio::time::timeout(TIMEOUT, TcpStream::connect(broker)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => away.push(format!("{broker}: {error}")),
            Err(_) => away.push(format!("{broker}: no answer in 5 s")),
        }
    }
    let fix = "start the broker, or correct KAFKA_BROKERS (host:port, comma-separated)";
    vec![if away.is_empty() {
        Check::ok(
            BUS,
            format!("{} of {0} brokers accept connections", brokers.len()),
        )
    } else if away.len() < brokers.len() {
        Check::warning(BUS, away.join("; "), fix)
    } else {
        Check::failed(BUS, away.join("; "), fix)
    }]
}

/// ClickHouse answers its ping.
pub(super) async fn clickhouse(client: &reqwest::Client, url: Option<&str>) -> Vec<Check> {
    let Some(url) = url else {
        return vec![Check::skipped(STORE, "CLICKHOUSE_URL")];
    };
    let fix = "start ClickHouse, or correct CLICKHOUSE_URL (its HTTP address, e.g. http://127.0.0.1:8123)";
    // The path is the database's name, which /ping does not take.
    let ping = url::Url::parse(url)
        .and_then(|url| url.join("/ping"))
        .map_or_else(|_| format!("{url}/ping"), String::from);
    vec![match client.get(ping).send().await {
        Ok(answer) if answer.status().is_success() => Check::ok(STORE, "answers"),
        Ok(answer) => Check::failed(STORE, format!("answered {}", answer.status()), fix),
        Err(error) => Check::failed(STORE, whole(&error.without_url()), fix),
    }]
}
