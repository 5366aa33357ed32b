//! Randomness as a parameter: ids, secrets and initialisation vectors are drawn from here only.

use rand::{RngCore, SeedableRng};
use std::sync::{Mutex, PoisonError};
use uuid::Uuid;

/// Where random bytes come from. Those of the program are fit for secrets.
pub trait Entropy: Send + Sync {
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // ChaCha12, seeded and reseeded by the operating system.
        rand::rng().fill_bytes(bytes);
    }
}

/// The same bytes for the same seed; for tests.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<rand::rngs::StdRng>);

impl SeededEntropy {
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(rand::rngs::StdRng::seed_from_u64(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .fill_bytes(bytes);
    }
}

/// `N` random bytes.
pub fn random_bytes<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}

/// A UUIDv7 (RFC 9562, 5.7) of a time in Unix milliseconds.
pub fn uuid_v7(now_ms: i64, entropy: &dyn Entropy) -> Uuid {
    let millis = u64::try_from(now_ms).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &random_bytes(entropy)).into_uuid()
}

/// 26 digits, each uniform over 0..62, for an API key (SPEC 1.1).
pub fn key_digits(entropy: &dyn Entropy) -> [u8; 26] {
    // 248 is the largest multiple of 62 that fits a byte: bytes above it would favour the first digits.
    const UNIFORM_BELOW: u8 = 248;
    let mut digits = [0; 26];
    for digit in &mut digits {
        *digit = loop {
            let [byte] = random_bytes::<1>(entropy);
            if byte < UNIFORM_BELOW {
                break byte % 62;
            }
        };
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_v7_carries_its_time() {
        let id = uuid_v7(1_700_000_000_123, &SeededEntropy::new(1));
        assert_eq!(id.get_version_num(), 7);
        assert!(id.to_string().starts_with("018bcfe5-687b-7"));
    }

    #[test]
    fn key_digits_stay_below_62_and_use_all_of_them() {
        let entropy = SeededEntropy::new(7);
        let mut seen = [false; 62];
        for _ in 0..100 {
            for digit in key_digits(&entropy) {
                seen[usize::from(digit)] = true;
            }
        }
        assert!(seen.iter().all(|&s| s));
    }
}
