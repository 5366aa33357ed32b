//! The format of API keys (SPEC 1.1): `rg_{live|test}_{26 random}{6 checksum}`, all of `0-9A-Za-z`.
//!
//! The checksum is the CRC-32/ISO-HDLC of everything before it in base 62, so that a mistyped string is refused
//! without a look-up.

use crate::digest::Digest;
use crate::name::names;

/// Where a key may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Environment {
    Live,
    Test,
}

names!(Environment {
    Live: "live",
    Test: "test"
});

/// Why a string is not one of our keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    #[error("not of the form rg_live_… or rg_test_…")]
    Form,
    #[error("the checksum does not match")]
    Checksum,
}

/// A key whose form and checksum are right. Says nothing about whether anybody issued it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ApiKey<'a> {
    text: &'a str,
    environment: Environment,
}

/// Base 62 in the order that checksum and random part use.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Digits that a CRC-32 needs in base 62.
const CHECKSUM_LEN: usize = 6;

impl<'a> ApiKey<'a> {
    /// Length of every key in bytes.
    pub const LEN: usize = 40;
    /// What every candidate starts with.
    pub const PREFIX: &'static [u8] = b"rg_";
    /// Characters shown in lists: `rg_live_K7dF`.
    pub const DISPLAY_PREFIX_LEN: usize = 12;

    /// Checks form and checksum, without any look-up.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, InvalidKey> {
        let (environment, random) = if let Some(rest) = bytes.strip_prefix(b"rg_live_") {
            (Environment::Live, rest)
        } else if let Some(rest) = bytes.strip_prefix(b"rg_test_") {
            (Environment::Test, rest)
        } else {
            return Err(InvalidKey::Form);
        };
        if bytes.len() != Self::LEN || !random.iter().all(u8::is_ascii_alphanumeric) {
            return Err(InvalidKey::Form);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| InvalidKey::Form)?;
        let (signed, checksum) = bytes.split_last_chunk::<CHECKSUM_LEN>().ok_or(InvalidKey::Form)?;
        if *checksum != checksum_of(signed) {
            return Err(InvalidKey::Checksum);
        }
        Ok(Self { text, environment })
    }

    pub fn environment(&self) -> Environment {
        self.environment
    }

    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// The only part that may be shown again.
    pub fn display_prefix(&self) -> &'a str {
        self.text.get(..Self::DISPLAY_PREFIX_LEN).unwrap_or_default()
    }

    pub fn digest(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }
}

impl std::fmt::Debug for ApiKey<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApiKey({}…)", self.display_prefix())
    }
}

/// Makes a key of random bytes; each must be uniform over 0..62 after the caller's rejection sampling.
pub fn generate(environment: Environment, digits: [u8; 26]) -> String {
    let mut key = format!("rg_{environment}_");
    key.extend(digits.map(|digit| base62(digit.into())));
    let checksum = checksum_of(key.as_bytes());
    key.extend(checksum.map(char::from));
    key
}

/// CRC-32 of `signed` in base 62, left-padded with `0`.
fn checksum_of(signed: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut rest = crc32(signed);
    let mut text = [b'0'; CHECKSUM_LEN];
    for place in text.iter_mut().rev() {
        *place = base62(rest) as u8;
        rest /= 62;
    }
    text
}

/// The digit of the lowest place of `value`.
fn base62(value: u32) -> char {
    char::from(ALPHABET[(value % 62) as usize])
}

/// CRC-32/ISO-HDLC, the one of zip and Ethernet: reflected polynomial 0x04C11DB7, all ones before and after.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        CRC_TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8)
    })
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 * (crc & 1));
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VALID: &str = "rg_live_K7dF9xQ2mN8bV3hJ5wR1tY6uI00LPdnF";

    #[test]
    fn the_example_of_the_spec_is_valid() {
        let key = ApiKey::parse(VALID.as_bytes()).expect("valid key");
        assert_eq!(key.environment(), Environment::Live);
        assert_eq!(key.as_str(), VALID);
        assert_eq!(key.display_prefix(), "rg_live_K7dF");
        assert_eq!(key.digest(), Digest::of(VALID.as_bytes()));
        assert_eq!(format!("{key:?}"), "ApiKey(rg_live_K7dF…)");
    }

    #[test]
    fn crc_has_the_published_check_value() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn refuses_other_forms() {
        for bytes in [
            &b""[..],
            b"rg_",
            b"rg_live_",
            b"sk-live_K7dF9xQ2mN8bV3hJ5wR1tY6uI00LPdnF",
            b"RG_live_K7dF9xQ2mN8bV3hJ5wR1tY6uI00LPdnF",
            b"rg_prod_K7dF9xQ2mN8bV3hJ5wR1tY6uI00LPdnF",
            b"rg_live_K7dF9xQ2mN8bV3hJ5wR1tY6uI00LPdn",
            b"rg_live_K7dF9xQ2mN8bV3hJ5wR1tY6uI00LPdnFF",
            b"rg_live_K7dF9xQ2mN8bV3hJ5wR1tY6uI00LPdn ",
            b"rg_live_K7dF9xQ2mN8bV3hJ5wR1tY6uI00LPdn\xff",
        ] {
            assert_eq!(ApiKey::parse(bytes), Err(InvalidKey::Form));
        }
        // A live key is not a test key.
        let moved = VALID.replace("live", "test");
        assert_eq!(ApiKey::parse(moved.as_bytes()), Err(InvalidKey::Checksum));
    }

    proptest! {
        #[test]
        fn a_generated_key_is_valid(live: bool, digits in prop::array::uniform26(0_u8..62)) {
            let environment = if live { Environment::Live } else { Environment::Test };
            let text = generate(environment, digits);
            let key = ApiKey::parse(text.as_bytes()).expect("valid key");
            prop_assert_eq!(key.environment(), environment);
        }

        #[test]
        fn one_wrong_character_is_noticed(at in 8_usize..40, digit in 0_u32..62) {
            let mut bytes = VALID.as_bytes().to_vec();
            let wrong = base62(digit) as u8;
            prop_assume!(bytes[at] != wrong);
            bytes[at] = wrong;
            prop_assert_eq!(ApiKey::parse(&bytes), Err(InvalidKey::Checksum));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, tail in "[0-9A-Za-z]{32}") {
            let _ = ApiKey::parse(&bytes);
            let _ = ApiKey::parse(format!("rg_test_{tail}").as_bytes());
            prop_assert!(generate(Environment::Test, [255; 26]).len() == ApiKey::LEN);
        }
    }
}
