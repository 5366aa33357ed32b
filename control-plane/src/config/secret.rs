//! The secrets of the configuration, and the example values that production refuses.

use super::Environment;
use super::reader::Reader;
use crate::auth::signing_key::SigningKey;

/// What development falls back to. Anybody can read it: production refuses it.
pub const EXAMPLE_JWT_SECRET: &str = "example-jwt-secret-for-development-only";
/// Base64 of 32 bytes that anybody can read.
pub const EXAMPLE_ENCRYPTION_KEY: &str = "ZXhhbXBsZS1rZXktZm9yLWRldmVsb3BtZW50LW9ubHk=";

/// Text that `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text itself; for use, never for logs.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Reader<'_> {
    pub(super) fn jwt_secret(&mut self, environment: Environment) -> SigningKey {
        let text = self.jwt_secret_text(environment);
        SigningKey::parse(&text).unwrap_or_else(|error| {
            self.problem("JWT_SECRET", error.to_string());
            SigningKey::secret(&Secret::new(&text))
        })
    }

    pub(super) fn jwt_secret_previous(&mut self, environment: Environment) -> Option<SigningKey> {
        const VARIABLE: &str = "JWT_SECRET_PREVIOUS";
        let text = self.secret_text(VARIABLE, "JWT_SECRET_PREVIOUS_FILE")?;
        if environment == Environment::Production && text.contains("example") {
            self.problem(VARIABLE, "is the example value; leave it out");
        }
        let key = SigningKey::parse(&text);
        if let Err(error) = &key {
            self.problem(
                VARIABLE,
                format!("{error}; leave it out unless JWT_SECRET changed"),
            );
        }
        key.ok()
    }

    fn jwt_secret_text(&mut self, environment: Environment) -> String {
        let value = self.secret_text("JWT_SECRET", "JWT_SECRET_FILE");
        self.real_secret("JWT_SECRET", value, EXAMPLE_JWT_SECRET, environment)
    }

    /// In development a missing secret is the example one; in production it is a problem, like the example itself.
    pub(super) fn real_secret(
        &mut self,
        variable: &'static str,
        value: Option<String>,
        example: &str,
        environment: Environment,
    ) -> String {
        match (value, environment) {
            (None, Environment::Production) => {
                self.problem(variable, "is missing; make one with `openssl rand -base64 32`");
                example.to_owned()
            }
            (Some(value), Environment::Production)
                if value.trim() == example || value.contains("example") =>
            {
                self.problem(
                    variable,
                    "is the example value; make one with `openssl rand -base64 32`",
                );
                example.to_owned()
            }
            (None, Environment::Development) => example.to_owned(),
            (Some(value), _) => value,
        }
    }
}
