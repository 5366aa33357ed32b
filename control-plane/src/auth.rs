//! Who calls: passwords, access tokens, sessions.

use crate::config::Config;

pub struct Auth;

impl Auth {
    pub fn new(_config: &Config) -> Self {
        Self
    }
}
