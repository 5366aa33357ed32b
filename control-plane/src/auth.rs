//! Who calls: passwords, access tokens, sessions.

pub mod account;
pub mod password;
pub mod refresh;
pub mod token;

use crate::config::Config;
use password::Hasher;
use token::Signer;

/// What authentication keeps between requests.
pub struct Auth {
    pub passwords: Hasher,
    pub tokens: Signer,
}

impl Auth {
    pub fn new(config: &Config) -> Self {
        Self {
            passwords: Hasher::default(),
            tokens: Signer::new(&config.jwt_secret),
        }
    }
}
