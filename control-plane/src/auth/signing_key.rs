//! What access tokens are signed with: a secret (HS256), or an RSA private key (RS256) where others shall be able to
//! check tokens without being able to make them.

use crate::config::Secret;
use crate::hex;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use rateguard_model::digest::Digest;
use rsa::RsaPrivateKey;
use rsa::pkcs1::{DecodeRsaPrivateKey as _, EncodeRsaPrivateKey as _};
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::traits::PublicKeyParts as _;

/// RFC 7518, 3.2: a key at least as long as the hash.
const SECRET_BYTES_MIN: usize = 32;
/// RFC 7518, 3.3.
const RSA_BITS_MIN: usize = 2048;
const PEM: &str = "-----BEGIN ";

/// Why a text is no signing key; completes "`JWT_SECRET` …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    #[error("is shorter than 32 bytes; make one with `openssl rand -base64 48`")]
    Short,
    #[error(
        "is PEM, but not an RSA private key without a password; make one with `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072`"
    )]
    NotRsa,
    #[error("is an RSA key of fewer than 2048 bits")]
    Weak,
}

/// A key of one algorithm: a token that names the key and another algorithm is refused (AU-11).
#[derive(Clone)]
pub struct SigningKey {
    pub(super) kid: String,
    pub(super) algorithm: Algorithm,
    pub(super) encoding: EncodingKey,
    pub(super) decoding: DecodingKey,
}

impl SigningKey {
    /// Reads `JWT_SECRET`: an RSA private key in PEM (PKCS#8 or PKCS#1), or any other text of at least 32 bytes.
    pub fn parse(text: &str) -> Result<Self, SigningKeyError> {
        if text.trim_start().starts_with(PEM) {
            return Self::rsa(text.trim());
        }
        if text.len() < SECRET_BYTES_MIN {
            return Err(SigningKeyError::Short);
        }
        Ok(Self::secret(&Secret::new(text)))
    }

    /// HS256, whatever the length.
    pub(crate) fn secret(secret: &Secret) -> Self {
        let bytes = secret.expose().as_bytes();
        Self {
            kid: kid_of(bytes),
            algorithm: Algorithm::HS256,
            encoding: EncodingKey::from_secret(bytes),
            decoding: DecodingKey::from_secret(bytes),
        }
    }

    fn rsa(pem: &str) -> Result<Self, SigningKeyError> {
        let key = RsaPrivateKey::from_pkcs8_pem(pem)
            .or_else(|_| RsaPrivateKey::from_pkcs1_pem(pem))
            .map_err(|_| SigningKeyError::NotRsa)?;
        if key.n().bits() < RSA_BITS_MIN {
            return Err(SigningKeyError::Weak);
        }
        let der = key.to_pkcs1_der().map_err(|_| SigningKeyError::NotRsa)?;
        let modulus = key.n().to_bytes_be();
        Ok(Self {
            kid: kid_of(&modulus),
            algorithm: Algorithm::RS256,
            encoding: EncodingKey::from_rsa_der(der.as_bytes()),
            decoding: DecodingKey::from_rsa_raw_components(&modulus, &key.e().to_bytes_be()),
        })
    }

    /// Names the key in a token's header; tells nothing about it.
    pub fn kid(&self) -> &str {
        &self.kid
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({:?}, {})", self.algorithm, self.kid)
    }
}

fn kid_of(bytes: &[u8]) -> String {
    let digest = Digest::of(&[b"rateguard access token key\0", bytes].concat());
    hex::encode(digest.as_bytes()).chars().take(16).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rsa::pkcs8::EncodePrivateKey as _;
    use rsa::pkcs8::LineEnding;

    /// A key made for these tests, in both forms of PEM.
    pub(in crate::auth) fn rsa_pem(bits: usize) -> [String; 2] {
        let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, bits).unwrap();
        [
            key.to_pkcs8_pem(LineEnding::LF).unwrap().to_string(),
            key.to_pkcs1_pem(LineEnding::LF).unwrap().to_string(),
        ]
    }

    #[test]
    fn both_forms_of_pem_are_the_same_key() {
        let [pkcs8, pkcs1] = rsa_pem(2048).map(|pem| SigningKey::parse(&format!("\n{pem}\n")).unwrap());
        assert_eq!(
            (pkcs8.algorithm, pkcs1.algorithm),
            (Algorithm::RS256, Algorithm::RS256)
        );
        assert_eq!(pkcs8.kid(), pkcs1.kid());
    }

    #[test]
    fn what_is_no_key_says_what_it_should_be() {
        let error = |text: &str| SigningKey::parse(text).unwrap_err();
        assert_eq!(error("short"), SigningKeyError::Short);
        assert_eq!(
            error("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"),
            SigningKeyError::NotRsa
        );
        assert_eq!(
            error("-----BEGIN ENCRYPTED PRIVATE KEY-----"),
            SigningKeyError::NotRsa
        );
        assert_eq!(error(&rsa_pem(1024)[0]), SigningKeyError::Weak);
    }

    #[test]
    fn debug_shows_no_key() {
        let [pem, _] = rsa_pem(2048);
        for text in [pem.as_str(), "0123456789abcdef0123456789abcdef"] {
            let shown = format!("{:?}", SigningKey::parse(text).unwrap());
            assert!(
                shown.len() < 40 && !shown.contains("0123456789abcdef0123"),
                "{shown}"
            );
        }
    }
}
