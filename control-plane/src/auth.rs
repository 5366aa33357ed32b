//! Who calls: passwords, access tokens, sessions.

pub mod access_token;
pub mod account;
pub mod identity;
pub mod opaque;
pub mod password;
pub mod refresh;
pub mod reset;
pub mod signing_key;
pub mod throttle;
pub mod token;
pub mod upkeep;

use crate::config::Config;
use password::Hasher;
use throttle::Throttle;
use token::Signer;

/// What authentication keeps between requests.
pub struct Auth {
    pub passwords: Hasher,
    pub tokens: Signer,
    pub throttle: Throttle,
}

impl Auth {
    pub fn new(config: &Config) -> Self {
        Self {
            passwords: Hasher::new(config.password_cost),
            tokens: Signer::new(config.jwt_secret.clone(), config.jwt_secret_previous.clone()),
            throttle: Throttle::default(),
        }
    }
}
