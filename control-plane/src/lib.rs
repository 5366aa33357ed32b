//! The control plane: people, workspaces, APIs, keys, rules and budgets over REST; the configuration feed that data
//! planes poll; Envoy's clusters for the gateway mode.
//!
//! SQL is spelled in `db` only. Time, ids and randomness come from [`state::AppState`]. Handlers extract, make one
//! call, and answer.

pub mod analytics;
pub mod assets;
pub mod audit;
pub mod auth;
pub mod clock;
pub mod config;
pub mod data_plane_token;
pub mod db;
pub mod doctor;
pub mod entropy;
pub mod feed;
pub mod hex;
pub mod http;
pub mod limits;
pub mod mail;
pub mod pace;
pub mod prices;
pub mod readiness;
pub mod secrets;
pub mod seed;
pub mod serve;
pub mod snapshot;
pub mod ssrf;
pub mod state;
pub mod telemetry;
pub mod xds;
