//! Access tokens: JWT, HS256 or RS256, 15 minutes. They say who calls; what the caller may do is read from the database.

use super::signing_key::SigningKey;
use jsonwebtoken::{Header, Validation};
use rateguard_api::name::Role;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How long an access token lives.
pub const LIFETIME_S: i64 = 15 * 60;
/// How far two machines' clocks may be apart (CK-03).
const LEEWAY_S: i64 = 60;
/// Longer than any token of ours.
const TOKEN_BYTES_MAX: usize = 4096;

const ISSUER: &str = "rateguard";
const AUDIENCE: &str = "rateguard-api";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claims {
    pub user_id: Uuid,
    /// Which workspace the routes without one mean; null while the user is in none.
    pub workspace_id: Option<Uuid>,
    /// For display; grants nothing.
    pub role: Option<Role>,
    pub iss: String,
    pub aud: String,
    pub sub: Uuid,
    /// The session; an ended one ends its access tokens.
    pub sid: Uuid,
    pub jti: Uuid,
    /// Unix seconds.
    pub iat: i64,
    pub exp: i64,
    /// Never in a token of ours; obeyed in one that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
}

/// Whom a token is for.
#[derive(Debug, Clone, Copy)]
pub struct Grant {
    pub user_id: Uuid,
    pub workspace_id: Option<Uuid>,
    pub role: Option<Role>,
    pub session_id: Uuid,
}

/// A token that is not in force. Which check failed is nobody's business outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the access token is not in force")]
pub struct InvalidToken;

/// Signs with one key and accepts that and the one before, so that the secret can be changed (`JWT_SECRET_PREVIOUS`).
pub struct Signer {
    signing: SigningKey,
    accepted: Vec<(SigningKey, Validation)>,
}

impl Signer {
    pub fn new(signing: SigningKey, previous: Option<SigningKey>) -> Self {
        let keys = [Some(signing.clone()), previous].into_iter().flatten();
        Self {
            signing,
            accepted: keys.map(accepting).collect(),
        }
    }

    pub fn sign(&self, grant: Grant, jti: Uuid, now_ms: i64) -> Result<String, jsonwebtoken::errors::Error> {
        let Grant {
            user_id,
            workspace_id,
            role,
            session_id,
        } = grant;
        let iat = now_ms.div_euclid(1000);
        let claims = Claims {
            user_id,
            workspace_id,
            role,
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: user_id,
            sid: session_id,
            jti,
            iat,
            exp: iat + LIFETIME_S,
            nbf: None,
        };
        let header = Header {
            kid: Some(self.signing.kid.clone()),
            ..Header::new(self.signing.algorithm)
        };
        jsonwebtoken::encode(&header, &claims, &self.signing.encoding)
    }

    pub fn verify(&self, token: &str, now_ms: i64) -> Result<Claims, InvalidToken> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(InvalidToken);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| InvalidToken)?;
        let (key, validation) = self
            .accepted
            .iter()
            .find(|(key, _)| header.kid.as_ref() == Some(&key.kid))
            .ok_or(InvalidToken)?;
        let data =
            jsonwebtoken::decode::<Claims>(token, &key.decoding, validation).map_err(|_| InvalidToken)?;
        let claims = data.claims;
        let now_s = now_ms.div_euclid(1000);
        let begun = |at: i64| at.saturating_sub(LEEWAY_S) <= now_s;
        let in_time =
            claims.exp.saturating_add(LEEWAY_S) > now_s && begun(claims.iat) && claims.nbf.is_none_or(begun);
        if in_time && claims.sub == claims.user_id {
            Ok(claims)
        } else {
            Err(InvalidToken)
        }
    }
}

/// A key, and what a token of it must be.
fn accepting(key: SigningKey) -> (SigningKey, Validation) {
    let mut validation = Validation::new(key.algorithm);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    // Judged by the program's clock, not by the library's.
    validation.validate_exp = false;
    (key, validation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::signing_key::tests::rsa_pem;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::{Algorithm, EncodingKey};
    use rsa::RsaPrivateKey;
    use rsa::pkcs8::DecodePrivateKey as _;
    use rsa::traits::PublicKeyParts as _;
    use serde_json::{Value, json};

    const NOW_MS: i64 = 1_800_000_000_000;

    fn key(text: &str) -> SigningKey {
        SigningKey::parse(text).unwrap()
    }

    fn signer() -> Signer {
        Signer::new(key("0123456789abcdef0123456789abcdef"), None)
    }

    fn grant() -> Grant {
        Grant {
            user_id: Uuid::from_u128(1),
            workspace_id: Some(Uuid::from_u128(2)),
            role: Some(Role::Owner),
            session_id: Uuid::from_u128(3),
        }
    }

    fn signed() -> String {
        signer().sign(grant(), Uuid::from_u128(4), NOW_MS).unwrap()
    }

    fn part(token: &str, index: usize) -> Value {
        let part = token.split('.').nth(index).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn a_token_carries_the_claims_and_the_kid_and_is_read_back() {
        let token = signed();
        let claims = signer().verify(&token, NOW_MS).unwrap();
        assert_eq!(claims.user_id, Uuid::from_u128(1));
        assert_eq!(claims.exp - claims.iat, 900);
        let mut names: Vec<_> = part(&token, 1).as_object().unwrap().keys().cloned().collect();
        names.sort();
        assert_eq!(
            names,
            [
                "aud",
                "exp",
                "iat",
                "iss",
                "jti",
                "role",
                "sid",
                "sub",
                "userId",
                "workspaceId"
            ]
        );
        assert_eq!(part(&token, 0)["kid"].as_str().unwrap().len(), 16);
    }

    #[test]
    fn au_11_forged_and_stale_tokens_are_refused() {
        let token = signed();
        let [_, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else {
            panic!("three parts")
        };
        let b64 = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let none = format!("{}.{payload}.", b64(&json!({"alg": "none", "kid": "x"})));
        let swapped = format!(
            "{}.{payload}.{signature}",
            b64(&json!({"alg": "RS256", "kid": "x"}))
        );
        let mut claims = part(&token, 1);
        claims["role"] = json!("OWNER2");
        let altered = format!("{}.{}.{signature}", b64(&part(&token, 0)), b64(&claims));
        let other = Signer::new(key("another secret of at least 32 bytes!"), None)
            .sign(grant(), Uuid::from_u128(4), NOW_MS)
            .unwrap();
        for bad in [
            &none,
            &swapped,
            &altered,
            &other,
            "",
            "a.b.c",
            &"x".repeat(1 << 20),
        ] {
            assert_eq!(signer().verify(bad, NOW_MS), Err(InvalidToken), "{bad:.60}");
        }
        let after = NOW_MS + (LIFETIME_S + LEEWAY_S) * 1000;
        assert!(signer().verify(&token, after - 1000).is_ok());
        assert_eq!(signer().verify(&token, after), Err(InvalidToken));
        assert_eq!(
            signer().verify(&token, NOW_MS - (LEEWAY_S + 1) * 1000),
            Err(InvalidToken)
        );
    }

    #[test]
    fn the_secret_before_is_accepted_and_signs_nothing() {
        let old = signed();
        let secret = key("0123456789abcdef0123456789abcdef");
        let new = key("the secret that came after the other one");
        let rotated = Signer::new(new.clone(), Some(secret));
        assert!(rotated.verify(&old, NOW_MS).is_ok());
        let fresh = rotated.sign(grant(), Uuid::from_u128(5), NOW_MS).unwrap();
        assert!(rotated.verify(&fresh, NOW_MS).is_ok());
        assert_eq!(signer().verify(&fresh, NOW_MS), Err(InvalidToken));
        assert_eq!(Signer::new(new, None).verify(&old, NOW_MS), Err(InvalidToken));
    }

    #[test]
    fn au_11_an_rsa_key_signs_rs256_and_takes_no_other_algorithm() {
        let [pem, _] = rsa_pem(2048);
        let hs256 = signed();
        // From a secret to an RSA key without ending a session.
        let signer = Signer::new(key(&pem), Some(key("0123456789abcdef0123456789abcdef")));
        assert!(signer.verify(&hs256, NOW_MS).is_ok());
        let token = signer.sign(grant(), Uuid::from_u128(4), NOW_MS).unwrap();
        assert_eq!(part(&token, 0)["alg"], "RS256");
        assert_eq!(signer.verify(&token, NOW_MS).unwrap().user_id, Uuid::from_u128(1));
        // What everybody may know of the key, taken for an HMAC secret.
        let public = RsaPrivateKey::from_pkcs8_pem(&pem).unwrap().n().to_bytes_be();
        let header = Header {
            kid: Some(signer.signing.kid.clone()),
            ..Header::new(Algorithm::HS256)
        };
        let forged =
            jsonwebtoken::encode(&header, &part(&token, 1), &EncodingKey::from_secret(&public)).unwrap();
        assert_eq!(signer.verify(&forged, NOW_MS), Err(InvalidToken));
    }

    #[test]
    fn au_11_wrong_issuer_audience_or_kid_is_refused() {
        let key = EncodingKey::from_secret(b"0123456789abcdef0123456789abcdef");
        let good = part(&signed(), 1);
        let kid = signer().signing.kid;
        let check = |kid: Option<&str>, claims: &Value| {
            let header = Header {
                kid: kid.map(str::to_owned),
                ..Header::new(Algorithm::HS256)
            };
            signer().verify(&jsonwebtoken::encode(&header, claims, &key).unwrap(), NOW_MS)
        };
        assert!(check(Some(&kid), &good).is_ok());
        assert!(check(Some("other"), &good).is_err());
        assert!(check(None, &good).is_err());
        for (claim, value) in [
            ("iss", json!("x")),
            ("aud", json!("x")),
            ("sub", json!(Uuid::nil())),
            ("exp", json!("x")),
            ("nbf", json!(NOW_MS / 1000 + 3600)),
        ] {
            let mut bad = good.clone();
            bad[claim] = value;
            assert!(check(Some(&kid), &bad).is_err(), "{claim}");
            if claim == "nbf" {
                continue;
            }
            let mut missing = good.clone();
            missing.as_object_mut().unwrap().remove(claim);
            assert!(check(Some(&kid), &missing).is_err(), "no {claim}");
        }
    }
}
