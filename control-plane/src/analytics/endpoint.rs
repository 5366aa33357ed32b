//! Where ClickHouse is, and clients for it.

use crate::config::Secret;
use clickhouse::Client;
use url::Url;

/// The database where the URL names none.
const DATABASE_DEFAULT: &str = "rateguard";

/// ClickHouse's own bound is the length of a file name.
const IDENTIFIER_BYTES_MAX: usize = 64;

/// Why `CLICKHOUSE_URL` or `CLICKHOUSE_CLUSTER` cannot be used. Says nothing of what the URL holds: it has a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error("is not of the form http://user:password@host:8123/database")]
    Form,
    #[error("names a database that is not letters, digits and underscores")]
    Database,
    #[error("is not letters, digits and underscores")]
    Cluster,
}

/// A ClickHouse server and our database there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `http://host:port`.
    origin: String,
    user: String,
    password: Secret,
    database: String,
    /// A cluster's name in ClickHouse's configuration: tables are made on all of it, with replicated engines.
    cluster: Option<String>,
}

impl Endpoint {
    /// `url` as in `http://user:password@host:8123/database`; user, password and database may be left out.
    pub fn parse(url: &str, cluster: Option<&str>) -> Result<Self, EndpointError> {
        let parsed = Url::parse(url).map_err(|_| EndpointError::Form)?;
        let host = parsed.host_str().ok_or(EndpointError::Form)?;
        if !matches!(parsed.scheme(), "http" | "https") || parsed.query().is_some() {
            return Err(EndpointError::Form);
        }
        let port = parsed.port_or_known_default().ok_or(EndpointError::Form)?;
        let database = match parsed.path().trim_matches('/') {
            "" => DATABASE_DEFAULT,
            path => path,
        };
        if !is_identifier(database) {
            return Err(EndpointError::Database);
        }
        if cluster.is_some_and(|name| !is_identifier(name)) {
            return Err(EndpointError::Cluster);
        }
        let decoded = |text: &str| {
            url::form_urlencoded::parse(text.replace('+', "%2B").as_bytes())
                .map(|(name, _)| name.into_owned())
                .collect::<String>()
        };
        Ok(Self {
            origin: format!("{}://{host}:{port}", parsed.scheme()),
            user: decoded(parsed.username()),
            password: Secret::new(&decoded(parsed.password().unwrap_or_default())),
            database: database.to_owned(),
            cluster: cluster.map(str::to_owned),
        })
    }

    /// Our database's name: letters, digits, underscores.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The cluster's name, of the same form.
    pub fn cluster(&self) -> Option<&str> {
        self.cluster.as_deref()
    }

    /// A client that is in our database. Clones of it share their connections.
    pub fn client(&self) -> Client {
        self.server_client().with_database(&self.database)
    }

    /// A client that is in no database of ours, which may not exist yet.
    pub fn server_client(&self) -> Client {
        let client = Client::default().with_url(&self.origin);
        if self.user.is_empty() {
            return client;
        }
        client.with_user(&self.user).with_password(self.password.expose())
    }
}

/// Whether a name can stand in a statement as it is.
fn is_identifier(name: &str) -> bool {
    name.len() <= IDENTIFIER_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_server_user_and_database() {
        let endpoint = Endpoint::parse("https://rg:p%40ss+@ch.internal:8443/metrics", Some("main")).unwrap();
        assert_eq!(endpoint.origin, "https://ch.internal:8443");
        assert_eq!(
            (endpoint.user.as_str(), endpoint.password.expose()),
            ("rg", "p@ss+")
        );
        assert_eq!(
            (endpoint.database(), endpoint.cluster()),
            ("metrics", Some("main"))
        );
        assert!(!format!("{endpoint:?}").contains("p@ss"));
        let plain = Endpoint::parse("http://127.0.0.1:8123", None).unwrap();
        assert_eq!(
            (plain.database(), plain.user.as_str(), plain.cluster()),
            ("rateguard", "", None)
        );
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        for url in ["", "127.0.0.1:8123", "tcp://h:9000/d", "http://h/d?x=1"] {
            assert_eq!(Endpoint::parse(url, None), Err(EndpointError::Form), "{url}");
        }
        let database = Endpoint::parse("http://h/a`b", None);
        assert_eq!(database, Err(EndpointError::Database));
        let cluster = Endpoint::parse("http://h/d", Some("a' x"));
        assert_eq!(cluster, Err(EndpointError::Cluster));
    }
}
