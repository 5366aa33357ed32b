//! The limit service: it serves, and it takes our token.

use super::{Check, whole};
use crate::config::Limits;
use crate::limits::{LimitsClient, LimitsError};
use tonic::Code;
use uuid::Uuid;

const SERVICE: &str = "limit service";
const TOKEN: &str = "limit service token";

pub(super) async fn check(limits: &Limits) -> Vec<Check> {
    if limits.url.is_none() {
        return vec![Check::skipped(SERVICE, "LIMITS_URL")];
    }
    let client = LimitsClient::new(limits);
    match client.is_serving().await {
        Ok(true) => vec![Check::ok(SERVICE, "serving"), token(&client).await],
        Ok(false) => vec![Check::failed(
            SERVICE,
            "answers, but does not serve",
            "its /ready says what is missing: before its first feed it knows no token (CONTROL_PLANE_URL, DATA_PLANE_TOKEN)",
        )],
        Err(error) => vec![Check::failed(
            SERVICE,
            whole(&error),
            "start rateguard-ext-ratelimit, or correct LIMITS_URL (its gRPC address)",
        )],
    }
}

/// A workspace that nobody has: any answer but a refusal of the caller proves the token.
async fn token(client: &LimitsClient) -> Check {
    let fix = "set LIMITS_TOKEN to the output of: rateguard-control-plane data-plane-token create --all-workspaces --name control-plane";
    match client.budget_status(Uuid::nil()).await {
        Err(LimitsError::Call(status))
            if matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied) =>
        {
            Check::failed(TOKEN, format!("refused: {}", status.message()), fix)
        }
        Err(LimitsError::Call(status))
            if matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded) =>
        {
            Check::failed(TOKEN, status.message(), "look at the limit service's log")
        }
        Ok(_) | Err(_) => Check::ok(TOKEN, "taken"),
    }
}
