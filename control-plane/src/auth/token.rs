//! Access tokens: JWT, HS256, 15 minutes. They say who calls; what the caller may do is read from the database.

use crate::config::Secret;
use crate::hex;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rateguard_api::name::Role;
use rateguard_model::digest::Digest;
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
    /// Which workspace the routes without one mean.
    pub workspace_id: Uuid,
    /// For display; grants nothing.
    pub role: Role,
    pub iss: String,
    pub aud: String,
    pub sub: Uuid,
    /// The session; an ended one ends its access tokens.
    pub sid: Uuid,
    pub jti: Uuid,
    /// Unix seconds.
    pub iat: i64,
    pub exp: i64,
}

/// Whom a token is for.
#[derive(Debug, Clone, Copy)]
pub struct Grant {
    pub user_id: Uuid,
    pub workspace_id: Uuid,
    pub role: Role,
    pub session_id: Uuid,
}

/// A token that is not in force. Which check failed is nobody's business outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the access token is not in force")]
pub struct InvalidToken;

/// Signs and checks access tokens.
pub struct Signer {
    kid: String,
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
}

impl Signer {
    pub fn new(secret: &Secret) -> Self {
        let secret = secret.expose();
        let digest = Digest::of(format!("rateguard access token key\0{secret}").as_bytes());
        let kid = hex::encode(digest.as_bytes()).chars().take(16).collect();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Judged below by the program's clock, not by the library's.
        validation.validate_exp = false;
        Self {
            kid,
            encoding: EncodingKey::from_secret(secret.as_bytes()),
            decoding: DecodingKey::from_secret(secret.as_bytes()),
            validation,
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
        };
        let header = Header {
            kid: Some(self.kid.clone()),
            ..Header::new(Algorithm::HS256)
        };
        jsonwebtoken::encode(&header, &claims, &self.encoding)
    }

    pub fn verify(&self, token: &str, now_ms: i64) -> Result<Claims, InvalidToken> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(InvalidToken);
        }
        let data = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation)
            .map_err(|_| InvalidToken)?;
        let claims = data.claims;
        let now_s = now_ms.div_euclid(1000);
        let in_time =
            claims.exp.saturating_add(LEEWAY_S) > now_s && claims.iat.saturating_sub(LEEWAY_S) <= now_s;
        let ours = data.header.kid.as_deref() == Some(&self.kid) && claims.sub == claims.user_id;
        if in_time && ours {
            Ok(claims)
        } else {
            Err(InvalidToken)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    const NOW_MS: i64 = 1_800_000_000_000;

    fn signer() -> Signer {
        Signer::new(&Secret::new("0123456789abcdef0123456789abcdef"))
    }

    fn grant() -> Grant {
        Grant {
            user_id: Uuid::from_u128(1),
            workspace_id: Uuid::from_u128(2),
            role: Role::Owner,
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
        let other = Signer::new(&Secret::new("another secret of at least 32 bytes!"))
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
    fn au_11_wrong_issuer_audience_or_kid_is_refused() {
        let key = EncodingKey::from_secret(b"0123456789abcdef0123456789abcdef");
        let good = part(&signed(), 1);
        let kid = signer().kid;
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
        ] {
            let mut bad = good.clone();
            bad[claim] = value;
            assert!(check(Some(&kid), &bad).is_err(), "{claim}");
            let mut missing = good.clone();
            missing.as_object_mut().unwrap().remove(claim);
            assert!(check(Some(&kid), &missing).is_err(), "no {claim}");
        }
    }
}
