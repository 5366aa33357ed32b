//! Logs and metrics.

#[derive(Default)]
pub struct Metrics;
