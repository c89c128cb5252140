//! People's session tokens: JWTs signed with HS256.
//!
//! Owns what a token says and whether it is one of ours and still in its time. Whether the
//! session it names still exists is the caller's to ask. Time is a parameter.

use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wgctl::Timestamp;
use wgctl::api::Role;
use wgctl::name::UserId;

use super::SigningKey;
use crate::fleet::Account;

const AUDIENCE: &str = "sentrazone";
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// How far the clock may have been set back since a token was made.
const SKEW: Duration = Duration::from_secs(60);

/// Why a token is not taken, or none could be made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It is not one of ours.
    #[error("the token is not valid")]
    Invalid,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Signing failed.
    #[error("tokens cannot be signed: {0}")]
    Sign(String),
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claims {
    /// The user.
    pub(crate) sub: UserId,
    /// Their email, for the token's reader; the record decides.
    pub(crate) email: String,
    /// Their role, likewise.
    pub(crate) role: Role,
    /// When it was made, Unix seconds.
    pub(crate) iat: i64,
    /// When it ends, Unix seconds.
    pub(crate) exp: i64,
    /// This token's own id.
    pub(crate) jti: Uuid,
    /// Always `sentrazone`.
    pub(crate) aud: String,
    /// The user's session epoch it belongs to.
    pub(crate) epoch: u64,
}

/// Makes tokens and reads them.
pub(crate) struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    header: String,
}

impl Tokens {
    /// Signs and verifies once, so that a broken cryptography library stops the start.
    pub(crate) fn new(key: &SigningKey) -> Result<Self, TokenError> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[AUDIENCE]);
        // The time is checked in `verify`, which is told what time it is.
        validation.validate_exp = false;
        let encoding = EncodingKey::from_secret(key.as_bytes());
        let trial = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &serde_json::json!({}), &encoding)
            .map_err(|error| TokenError::Sign(error.to_string()))?;
        let header = trial.split('.').next().unwrap_or_default().to_owned();
        let tokens = Self {
            encoding,
            decoding: DecodingKey::from_secret(key.as_bytes()),
            validation,
            header,
        };
        tokens.prove()?;
        Ok(tokens)
    }

    fn prove(&self) -> Result<(), TokenError> {
        let now = Timestamp::from_unix(0);
        let claims = Claims {
            sub: UserId::from_bytes([0; 16]),
            email: String::new(),
            role: Role::Viewer,
            iat: 0,
            exp: 1,
            jti: Uuid::nil(),
            aud: AUDIENCE.to_owned(),
            epoch: 0,
        };
        let read = self.verify(&self.sign(&claims)?, now)?;
        if read == claims {
            Ok(())
        } else {
            Err(TokenError::Invalid)
        }
    }

    fn sign(&self, claims: &Claims) -> Result<String, TokenError> {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &self.encoding)
            .map_err(|error| TokenError::Sign(error.to_string()))
    }

    /// A token for `account`, and when it ends. Secret.
    pub(crate) fn issue(&self, account: &Account, now: Timestamp) -> Result<(String, Timestamp), TokenError> {
        let end = now.after(LIFETIME);
        let token = self.sign(&Claims {
            sub: account.id,
            email: account.email.to_string(),
            role: account.role,
            iat: now.unix(),
            exp: end.unix(),
            jti: Uuid::new_v4(),
            aud: AUDIENCE.to_owned(),
            epoch: account.session_epoch,
        })?;
        Ok((token, end))
    }

    /// What `token` says, when it is ours and in its time.
    ///
    /// The header must be, byte for byte, the one we write: no other algorithm, key reference
    /// (`kid`, `jwk`, `jku`) or `crit` extension ever reaches the library.
    pub(crate) fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, TokenError> {
        if token.split('.').next() != Some(self.header.as_str()) {
            return Err(TokenError::Invalid);
        }
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation)
            .map_err(|_| TokenError::Invalid)?
            .claims;
        if claims.exp <= now.unix() {
            return Err(TokenError::Expired);
        }
        if claims.iat > now.after(SKEW).unix() || claims.exp.saturating_sub(claims.iat) > LIFETIME.as_secs() as i64 {
            return Err(TokenError::Invalid);
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

    fn tokens() -> Tokens {
        let dir = tempfile::tempdir().unwrap();
        Tokens::new(&SigningKey::load_or_make(dir.path()).unwrap()).unwrap()
    }

    fn account() -> Account {
        Account {
            id: UserId::random(),
            email: "ops@example.com".parse().unwrap(),
            role: Role::Admin,
            enabled: true,
            password_hash: String::new(),
            session_epoch: 7,
        }
    }

    #[test]
    fn a_token_says_whose_it_is_for_24_hours() {
        let (tokens, account, now) = (tokens(), account(), Timestamp::from_unix(1_800_000_000));
        let (token, end) = tokens.issue(&account, now).unwrap();
        assert_eq!(end.since(now), LIFETIME);
        let claims = tokens.verify(&token, now).unwrap();
        assert_eq!((claims.sub, claims.epoch), (account.id, 7));
        assert!(tokens.verify(&token, end.before(Duration::from_secs(1))).is_ok());
        assert!(matches!(tokens.verify(&token, end), Err(TokenError::Expired)));
        let before = now.before(Duration::from_secs(3600));
        assert!(matches!(tokens.verify(&token, before), Err(TokenError::Invalid)));
    }

    #[test]
    fn forged_tokens_are_refused() {
        let (own, other, now) = (tokens(), tokens(), Timestamp::from_unix(1_800_000_000));
        let (token, _) = own.issue(&account(), now).unwrap();
        let (foreign, _) = other.issue(&account(), now).unwrap();
        let [_, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else {
            panic!("three parts")
        };
        let header = |json: &str| BASE64.encode(json);
        let mut forged = vec![
            foreign,
            String::new(),
            "...".to_owned(),
            format!("{}.{payload}.", own.header),
            format!("{}.{payload}.{signature}x", own.header),
            format!("{}.{}.{signature}", own.header, header(r#"{"sub":"x"}"#)),
            format!("{token}.{token}"),
            "A".repeat(1 << 20),
        ];
        for json in [
            r#"{"typ":"JWT","alg":"none"}"#,
            r#"{"typ":"JWT","alg":"HS384"}"#,
            r#"{"typ":"JWT","alg":"RS256"}"#,
            r#"{"typ":"JWT","alg":"HS256","kid":"../../dev/null"}"#,
            r#"{"typ":"JWT","alg":"HS256","crit":["x"],"x":1}"#,
        ] {
            forged.push(format!("{}.{payload}.{signature}", header(json)));
            forged.push(format!("{}.{payload}.", header(json)));
        }
        for token in forged {
            assert!(own.verify(&token, now).is_err(), "{token:.200}");
        }
    }
}
