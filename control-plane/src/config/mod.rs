//! Configuration, from the environment: parsed into types and checked as a whole before a port is bound.
//!
//! Every error names the variable, what is wrong with it, and the fix. All that is wrong is reported at once.

mod encryption;
mod people;
mod secret;

use crate::ssrf;
use crate::xds::cluster::Settings as Upstream;
use std::net::SocketAddr;

pub use encryption::EncryptionKeys;
pub use people::Smtp;
pub use secret::{EXAMPLE_ENCRYPTION_KEY, EXAMPLE_JWT_SECRET, Secret};

/// Reads a variable; the program's own environment, or a table in tests.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// `RATEGUARD_ENV`: how strict the program is. Default `production`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// Example secrets are accepted, cookies go without `Secure`.
    Development,
    Production,
}

/// `REGISTRATION`: who may make an account. Default `open`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    Open,
    /// Whoever was invited, with the invited address.
    Invite,
    /// Nobody; invited people who have an account still join.
    Closed,
}

/// `LOG_FORMAT`. Default `text`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// How to reach the limit service. Without it, costs and rule resets answer 503.
#[derive(Debug, Clone)]
pub struct Limits {
    /// `LIMITS_URL`: `http://host:port` of its gRPC listener.
    pub url: Option<String>,
    /// `LIMITS_TOKEN`: a data-plane token for all workspaces.
    pub token: Option<Secret>,
}

/// What `serve` and `seed` need.
#[derive(Debug, Clone)]
pub struct Config {
    pub environment: Environment,
    /// `DATABASE_URL`: postgres://…
    pub database_url: Secret,
    /// `LISTEN_ADDR`. Default 127.0.0.1:3000; port 0 takes a free one.
    pub listen_addr: SocketAddr,
    /// `JWT_SECRET`: at least 32 bytes; signs access tokens.
    pub jwt_secret: Secret,
    /// `JWT_SECRET_PREVIOUS`: what it was before. Tokens of it still count, so that changing it ends none. Default: none.
    pub jwt_secret_previous: Option<Secret>,
    /// `ENCRYPTION_KEY`, `ENCRYPTION_KEY_PREVIOUS`: losing them loses every stored credential.
    pub encryption_keys: EncryptionKeys,
    pub limits: Limits,
    /// `GATEWAY_PUBLIC_URL`: what applications put in front of `/proxy/…`. Default http://127.0.0.1:3001.
    pub gateway_public_url: String,
    /// `UPSTREAM_CONNECT_TIMEOUT_MS`, `UPSTREAM_CONNECTIONS_MAX`, `UPSTREAM_PENDING_MAX`, `UPSTREAM_REQUESTS_MAX`.
    pub upstream: Upstream,
    /// `UPSTREAM_ALLOW`: private addresses that APIs may point at. Default: none.
    pub upstream_allow: ssrf::Policy,
    pub registration: Registration,
    /// `CONSOLE_PUBLIC_URL`: what links to the console begin with. Default http://127.0.0.1:3000.
    pub console_public_url: String,
    /// `TRUSTED_PROXY_HOPS`: how many proxies of ours append to `x-forwarded-for`. Default 0: the peer is the client.
    pub trusted_proxy_hops: usize,
    pub smtp: Option<Smtp>,
    pub log_format: LogFormat,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub variable: &'static str,
    pub message: String,
}

/// All that is wrong with the environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration is not usable:{}", list(.0))]
pub struct ConfigError(pub Vec<Problem>);

fn list(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems
        .iter()
        .map(|p| {
            format!(
                "
  {}: {}",
                p.variable, p.message
            )
        })
        .collect();
    lines.concat()
}

/// The program's environment.
#[expect(
    clippy::disallowed_methods,
    reason = "the program's one reading of its environment"
)]
pub fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Config {
    pub fn from_env(env: Lookup<'_>) -> Result<Self, ConfigError> {
        let mut reader = Reader {
            env,
            problems: Vec::new(),
        };
        let environment = reader.environment();
        let config = Self {
            environment,
            database_url: reader.database_url(),
            listen_addr: reader.parsed("LISTEN_ADDR", "127.0.0.1:3000", "host:port, e.g. 127.0.0.1:3000"),
            jwt_secret: reader.jwt_secret(environment),
            jwt_secret_previous: reader.jwt_secret_previous(environment),
            encryption_keys: reader.encryption_keys(environment),
            limits: reader.limits(environment),
            gateway_public_url: reader.http_url("GATEWAY_PUBLIC_URL", "http://127.0.0.1:3001"),
            upstream: reader.upstream(),
            upstream_allow: reader.upstream_allow(),
            registration: reader.choice(
                "REGISTRATION",
                &[
                    ("open", Registration::Open),
                    ("invite", Registration::Invite),
                    ("closed", Registration::Closed),
                ],
                Registration::Open,
            ),
            console_public_url: reader.http_url("CONSOLE_PUBLIC_URL", "http://127.0.0.1:3000"),
            trusted_proxy_hops: reader.trusted_proxy_hops(),
            smtp: reader.smtp(environment),
            log_format: reader.log_format(),
        };
        reader.finish(config)
    }

    /// Values that suit a test: development, loopback, a free port.
    pub fn for_testing(database_url: &str) -> Self {
        Self {
            environment: Environment::Development,
            database_url: Secret::new(database_url),
            listen_addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            jwt_secret: Secret::new(EXAMPLE_JWT_SECRET),
            jwt_secret_previous: None,
            encryption_keys: EncryptionKeys {
                current: [7; 32],
                previous: Vec::new(),
            },
            limits: Limits {
                url: None,
                token: None,
            },
            gateway_public_url: "http://127.0.0.1:3001".to_owned(),
            upstream: Upstream::default(),
            upstream_allow: ssrf::Policy::default(),
            registration: Registration::Open,
            console_public_url: "http://127.0.0.1:3000".to_owned(),
            trusted_proxy_hops: 0,
            smtp: None,
            log_format: LogFormat::Text,
        }
    }
}

/// What `migrate`, `data-plane-token` and `reset-password` need.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    pub database_url: Secret,
    /// `CONSOLE_PUBLIC_URL`.
    pub console_public_url: String,
    pub log_format: LogFormat,
}

impl DatabaseConfig {
    pub fn from_env(env: Lookup<'_>) -> Result<Self, ConfigError> {
        let mut reader = Reader {
            env,
            problems: Vec::new(),
        };
        let config = Self {
            database_url: reader.database_url(),
            console_public_url: reader.http_url("CONSOLE_PUBLIC_URL", "http://127.0.0.1:3000"),
            log_format: reader.log_format(),
        };
        reader.finish(config)
    }
}

struct Reader<'a> {
    env: Lookup<'a>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn finish<T>(self, value: T) -> Result<T, ConfigError> {
        if self.problems.is_empty() {
            Ok(value)
        } else {
            Err(ConfigError(self.problems))
        }
    }

    fn get(&self, variable: &'static str) -> Option<String> {
        (self.env)(variable).filter(|value| !value.trim().is_empty())
    }

    fn problem(&mut self, variable: &'static str, message: impl Into<String>) {
        self.problems.push(Problem {
            variable,
            message: message.into(),
        });
    }

    fn environment(&mut self) -> Environment {
        self.choice(
            "RATEGUARD_ENV",
            &[
                ("development", Environment::Development),
                ("production", Environment::Production),
            ],
            Environment::Production,
        )
    }

    fn log_format(&mut self) -> LogFormat {
        self.choice(
            "LOG_FORMAT",
            &[("text", LogFormat::Text), ("json", LogFormat::Json)],
            LogFormat::Text,
        )
    }

    fn choice<T: Copy>(&mut self, variable: &'static str, choices: &[(&str, T)], default: T) -> T {
        let Some(value) = self.get(variable) else {
            return default;
        };
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == value) {
            return *choice;
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        self.problem(variable, format!("`{value}` is none of {}", names.join(", ")));
        default
    }

    fn parsed(&mut self, variable: &'static str, default: &str, form: &str) -> SocketAddr {
        let value = self.get(variable).unwrap_or_else(|| default.to_owned());
        value.parse().unwrap_or_else(|_| {
            self.problem(variable, format!("`{value}` is not {form}"));
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    fn http_url(&mut self, variable: &'static str, default: &str) -> String {
        let value = self.get(variable).unwrap_or_else(|| default.to_owned());
        let usable = url::Url::parse(&value)
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some());
        if !usable {
            self.problem(
                variable,
                format!("`{value}` is not a URL of the form http://host:port"),
            );
        }
        value.trim_end_matches('/').to_owned()
    }

    fn database_url(&mut self) -> Secret {
        match self.get("DATABASE_URL") {
            Some(url) if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
                Secret::new(&url)
            }
            Some(_) => {
                self.problem(
                    "DATABASE_URL",
                    "is not of the form postgres://user:password@host:5432/database",
                );
                Secret::new("")
            }
            None => {
                self.problem(
                    "DATABASE_URL",
                    "is missing; set it to postgres://user:password@host:5432/database",
                );
                Secret::new("")
            }
        }
    }

    fn upstream(&mut self) -> Upstream {
        let default = Upstream::default();
        Upstream {
            connect_timeout_ms: self.number(
                "UPSTREAM_CONNECT_TIMEOUT_MS",
                default.connect_timeout_ms,
                100,
                60_000,
            ),
            connections_max: self.number("UPSTREAM_CONNECTIONS_MAX", default.connections_max, 1, 1_000_000),
            pending_max: self.number("UPSTREAM_PENDING_MAX", default.pending_max, 1, 1_000_000),
            requests_max: self.number("UPSTREAM_REQUESTS_MAX", default.requests_max, 1, 1_000_000),
        }
    }

    fn number(&mut self, variable: &'static str, default: u32, min: u32, max: u32) -> u32 {
        let Some(text) = self.get(variable) else {
            return default;
        };
        let number = text.parse().ok().filter(|number| (min..=max).contains(number));
        number.unwrap_or_else(|| {
            self.problem(variable, format!("`{text}` is not a number from {min} to {max}"));
            default
        })
    }

    fn upstream_allow(&mut self) -> ssrf::Policy {
        let Some(text) = self.get("UPSTREAM_ALLOW") else {
            return ssrf::Policy::default();
        };
        text.parse().unwrap_or_else(|error| {
            self.problem(
                "UPSTREAM_ALLOW",
                format!("{error}; e.g. http://10.1.0.0/16:8080,https://10.2.0.0/16:*"),
            );
            ssrf::Policy::default()
        })
    }

    fn limits(&mut self, environment: Environment) -> Limits {
        let url = self.get("LIMITS_URL").map(|_| self.http_url("LIMITS_URL", ""));
        let token = self.get("LIMITS_TOKEN");
        match &token {
            Some(token) if !token.starts_with("rgdp_") => {
                self.problem(
                    "LIMITS_TOKEN",
                    "does not start with rgdp_; make one with `data-plane-token create`",
                );
            }
            None if url.is_some() && environment == Environment::Production => {
                self.problem(
                    "LIMITS_TOKEN",
                    "is missing while LIMITS_URL is set; make one with `data-plane-token create --all-workspaces`",
                );
            }
            Some(_) | None => {}
        }
        Limits {
            url,
            token: token.as_deref().map(Secret::new),
        }
    }
}

#[cfg(test)]
mod tests;
