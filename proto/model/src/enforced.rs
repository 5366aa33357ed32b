//! What the data plane enforces and prices today: the one table of SPEC 1.3. Whatever is not in it is refused at
//! write time with 422 `not_supported` and not offered in the console. Later work only extends it.

use crate::quota::{Algorithm, Unit};

pub const ALGORITHMS: &[Algorithm] = &[Algorithm::TokenBucket, Algorithm::SlidingWindow];

pub const UNITS: &[Unit] = &[
    Unit::Requests,
    Unit::Tokens,
    Unit::InputTokens,
    Unit::OutputTokens,
    Unit::NanoUsd,
];

/// Scope names as the REST API spells them.
pub const SCOPES: &[&str] = &["GLOBAL", "PER_WORKSPACE", "PER_KEY", "PER_IP"];

/// Cost model names as the REST API spells them.
pub const COST_MODELS: &[&str] = &["PER_REQUEST", "PER_TOKEN"];

/// Budget subjects as the REST API spells them.
pub const BUDGET_SUBJECTS: &[&str] = &["WORKSPACE"];
