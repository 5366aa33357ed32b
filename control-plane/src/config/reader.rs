//! Reads typed values and collects everything that is wrong with them.

use super::{ConfigError, Environment, Limits, LogFormat, Lookup, Problem, Secret, Upstream};
use crate::analytics::{Endpoint, EndpointError};
use crate::ssrf;
use std::net::SocketAddr;

pub(super) struct Reader<'a> {
    env: Lookup<'a>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(env: Lookup<'a>) -> Self {
        Self {
            env,
            problems: Vec::new(),
        }
    }

    pub(super) fn finish<T>(self, value: T) -> Result<T, ConfigError> {
        if self.problems.is_empty() {
            Ok(value)
        } else {
            Err(ConfigError(self.problems))
        }
    }

    /// The problems, where there is nothing that could be returned instead.
    pub(super) fn refused(self) -> ConfigError {
        ConfigError(self.problems)
    }

    pub(super) fn get(&self, variable: &str) -> Option<String> {
        (self.env)(variable).filter(|value| !value.trim().is_empty())
    }

    /// A secret in a variable, or in the file that another variable names, as container platforms mount them. The
    /// file's last line break is not part of it.
    pub(super) fn secret_text(
        &mut self,
        variable: &'static str,
        file_variable: &'static str,
    ) -> Option<String> {
        match (self.get(variable), self.get(file_variable)) {
            (Some(_), Some(_)) => {
                self.problem(
                    file_variable,
                    format!("is set beside {variable}; set one of the two"),
                );
                None
            }
            (Some(value), None) => Some(value),
            (None, Some(path)) => match std::fs::read_to_string(path.trim()) {
                Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
                Err(error) => {
                    self.problem(
                        file_variable,
                        format!("names a file that cannot be read: {error}"),
                    );
                    None
                }
            },
            (None, None) => None,
        }
    }

    /// The URL of something that is not there where it is unset.
    pub(super) fn optional_http_url(&mut self, variable: &'static str) -> Option<String> {
        self.get(variable).map(|_| self.http_url(variable, ""))
    }

    pub(super) fn problem(&mut self, variable: &'static str, message: impl Into<String>) {
        self.problems.push(Problem {
            variable,
            message: message.into(),
        });
    }

    pub(super) fn environment(&mut self) -> Environment {
        self.choice(
            "RATEGUARD_ENV",
            &[
                ("development", Environment::Development),
                ("production", Environment::Production),
            ],
            Environment::Production,
        )
    }

    pub(super) fn log_format(&mut self) -> LogFormat {
        self.choice(
            "LOG_FORMAT",
            &[("text", LogFormat::Text), ("json", LogFormat::Json)],
            LogFormat::Text,
        )
    }

    pub(super) fn choice<T: Copy>(&mut self, variable: &'static str, choices: &[(&str, T)], default: T) -> T {
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

    pub(super) fn parsed(&mut self, variable: &'static str, default: &str, form: &str) -> SocketAddr {
        let value = self.get(variable).unwrap_or_else(|| default.to_owned());
        value.parse().unwrap_or_else(|_| {
            self.problem(variable, format!("`{value}` is not {form}"));
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    pub(super) fn http_url(&mut self, variable: &'static str, default: &str) -> String {
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

    pub(super) fn database_url(&mut self) -> Secret {
        match self.secret_text("DATABASE_URL", "DATABASE_URL_FILE") {
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

    /// The feed carries credentials: in plain text it stays on this machine, where what ends TLS has to be too.
    pub(super) fn listen_addr(&mut self, environment: Environment) -> SocketAddr {
        let address = self.parsed("LISTEN_ADDR", "127.0.0.1:3000", "host:port, e.g. 127.0.0.1:3000");
        if environment == Environment::Production && !address.ip().is_loopback() {
            self.problem(
                "LISTEN_ADDR",
                format!(
                    "{address} is not a loopback address: this build has no TLS, and credentials would travel in plain \
                     text; put a TLS proxy beside it (RATEGUARD_ENV=development allows it)"
                ),
            );
        }
        address
    }

    pub(super) fn upstream(&mut self) -> Upstream {
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

    pub(super) fn number(&mut self, variable: &'static str, default: u32, min: u32, max: u32) -> u32 {
        let Some(text) = self.get(variable) else {
            return default;
        };
        let number = text.parse().ok().filter(|number| (min..=max).contains(number));
        number.unwrap_or_else(|| {
            self.problem(variable, format!("`{text}` is not a number from {min} to {max}"));
            default
        })
    }

    pub(super) fn clickhouse(&mut self) -> Option<Endpoint> {
        let url = self.get("CLICKHOUSE_URL")?;
        let cluster = self.get("CLICKHOUSE_CLUSTER");
        match Endpoint::parse(&url, cluster.as_deref()) {
            Ok(endpoint) => Some(endpoint),
            Err(error) => {
                let variable = match error {
                    EndpointError::Cluster => "CLICKHOUSE_CLUSTER",
                    EndpointError::Form | EndpointError::Database => "CLICKHOUSE_URL",
                };
                self.problem(variable, error.to_string());
                None
            }
        }
    }

    pub(super) fn upstream_allow(&mut self) -> ssrf::Policy {
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

    pub(super) fn limits(&mut self, environment: Environment) -> Limits {
        let url = self.optional_http_url("LIMITS_URL");
        let token = self.secret_text("LIMITS_TOKEN", "LIMITS_TOKEN_FILE");
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
