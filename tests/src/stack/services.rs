//! Our own services: the control plane and the limit service.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::process::{Process, run};

/// What `rateguard-control-plane seed` leaves in its file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seed {
    /// Login of the demo user.
    pub email: String,
    /// Its password.
    pub password: String,
    /// The demo workspace.
    pub workspace_id: String,
    /// A whole API key of that workspace.
    pub api_key: String,
    /// The id of that key.
    pub api_key_id: String,
    /// A data-plane token for all workspaces.
    pub data_plane_token: String,
    /// API ids by slug.
    pub apis: BTreeMap<String, String>,
}

/// What the control plane must know at each of its commands.
#[derive(Clone, Debug)]
pub struct ControlPlane {
    /// `DATABASE_URL`.
    pub database_url: String,
    /// `LISTEN_ADDR`.
    pub listen: SocketAddr,
    /// `LIMITS_URL`, where it asks for budget status.
    pub limits: SocketAddr,
    /// `GATEWAY_PUBLIC_URL`.
    pub gateway_url: String,
    /// `JWT_SECRET`.
    pub jwt_secret: String,
    /// `ENCRYPTION_KEY`.
    pub encryption_key: String,
    /// `LIMITS_TOKEN`; none before the seed has made one.
    pub limits_token: Option<String>,
    /// More variables, set last.
    pub extra: BTreeMap<String, String>,
}

impl ControlPlane {
    /// Brings the database up to date.
    ///
    /// # Errors
    /// The command fails.
    pub fn migrate(&self, program: &Path) -> Result<()> {
        run(
            "rateguard-control-plane migrate",
            self.command(program).arg("migrate"),
        )
        .map(drop)
    }

    /// Makes the demo, with its APIs pointing at `upstream`, and reads what came out of it.
    ///
    /// # Errors
    /// The command fails, or its file is not as agreed.
    pub fn seed(&self, program: &Path, upstream: SocketAddr, out: &Path) -> Result<Seed> {
        let mut command = self.command(program);
        command
            .args(["seed", "--stub-url", &format!("http://{upstream}"), "--out"])
            .arg(out);
        run("rateguard-control-plane seed", &mut command)?;
        let text = std::fs::read(out).with_context(|| format!("reading {}", out.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("reading {}", out.display()))
    }

    /// Starts serving.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn serve(&self, program: &Path, log: &Path) -> Result<Process> {
        let mut command = self.command(program);
        command.arg("serve");
        if self.extra.contains_key("CLICKHOUSE_URL") {
            command.arg("--all");
        }
        Process::start("control-plane", command, log)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = clean(program);
        command
            .env("DATABASE_URL", &self.database_url)
            .env("LISTEN_ADDR", self.listen.to_string())
            .env("LIMITS_URL", format!("http://{}", self.limits))
            .env("GATEWAY_PUBLIC_URL", &self.gateway_url)
            .env("JWT_SECRET", &self.jwt_secret)
            .env("ENCRYPTION_KEY", &self.encryption_key)
            .env("UPSTREAM_ALLOW", "http://127.0.0.0/8:*");
        if let Some(token) = &self.limits_token {
            command.env("LIMITS_TOKEN", token);
        }
        command.envs(&self.extra);
        command
    }
}

/// What the limit service must know.
#[derive(Clone, Debug)]
pub struct Limits {
    /// `GRPC_LISTEN_ADDR`.
    pub grpc: SocketAddr,
    /// `HTTP_LISTEN_ADDR`.
    pub http: SocketAddr,
    /// `REDIS_URL`; none keeps everything in memory.
    pub redis: Option<SocketAddr>,
    /// `CONTROL_PLANE_URL`.
    pub control_plane: SocketAddr,
    /// `DATA_PLANE_TOKEN`.
    pub token: String,
    /// More variables, set last.
    pub extra: BTreeMap<String, String>,
}

impl Limits {
    /// Starts serving.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn serve(&self, name: &str, program: &Path, log: &Path) -> Result<Process> {
        let mut command = clean(program);
        command
            .env("GRPC_LISTEN_ADDR", self.grpc.to_string())
            .env("HTTP_LISTEN_ADDR", self.http.to_string())
            .env("CONTROL_PLANE_URL", format!("http://{}", self.control_plane))
            .env("DATA_PLANE_TOKEN", &self.token);
        if let Some(redis) = self.redis {
            command.env("REDIS_URL", format!("redis://{redis}/"));
        }
        command.envs(&self.extra);
        Process::start(name, command, log)
    }
}

/// A program in an environment of its own: nothing of the shell that runs the tests leaks in.
fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().current_dir("/");
    for name in ["PATH", "HOME", "LANG", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
        .env("RATEGUARD_ENV", "development")
        .env("RUST_BACKTRACE", "1")
        .env("RUST_LOG", "info");
    command
}
