//! `doctor`: proves that every dependency of this installation answers, and that the gateway is governed.
//!
//! It changes nothing. Each line says what was looked at, what was found, and for what failed the fix. What is not
//! configured is not checked, and said so.

mod database;
mod envoy;
mod gateway;
mod limits;
mod reach;
mod redis;
mod report;

use crate::config::DoctorConfig;
use std::time::Duration;

pub use report::{Check, Outcome, Report};

/// Longest time that one question may take.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, clap::Args)]
pub struct DoctorArgs {
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Asks everything, the independent things at once.
pub async fn examine(config: &DoctorConfig) -> Report {
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build();
    let Ok(client) = client else {
        return Report(vec![Check::failed(
            "HTTP client",
            "cannot be made",
            "the machine's certificate store cannot be read: install ca-certificates",
        )]);
    };
    let (database, redis, limits, envoy, gateway, bus, analytics) = tokio::join!(
        database::check(&config.database_url),
        redis::check(config.redis_url.as_ref()),
        limits::check(&config.limits),
        envoy::check(&client, config.envoy_admin_url.as_deref()),
        gateway::check(
            &client,
            config.gateway_public_url.as_deref(),
            config.api_key.as_ref()
        ),
        reach::bus(&config.kafka_brokers, &config.kafka_topic),
        reach::clickhouse(&client, config.clickhouse_url.as_deref()),
    );
    Report([database, redis, limits, envoy, gateway, bus, analytics].concat())
}

/// An error with what is below it, in one line.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        below = error.source();
    }
    text
}
