//! The limit service's client: budget status and rule reset.

use crate::config::Limits;

#[derive(Clone)]
pub struct LimitsClient;

impl LimitsClient {
    pub fn new(_limits: &Limits) -> Self {
        Self
    }
}
