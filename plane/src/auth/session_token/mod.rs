//! People's session tokens: JWTs signed with HS256.
//!
//! Owns the content of a token, the check that this plane issued it and that it has not expired, and the rotation
//! of signing keys. It must not check that the session still exists, which belongs to the caller, and it must not
//! read the clock: the time is a parameter.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use uuid::Uuid;
use wgctl::Timestamp;
use wgctl::api::Role;
use wgctl::name::UserId;
use wgctl::program::private_file::Prepared;

use crate::fleet::Account;
use crate::keys::root::KeyError;
use crate::keys::sessions::{Key, LIFETIME, Ring, SKEW};

const AUDIENCE: &str = "sentrazone";
/// The token type. So far this is the only one; a token of another type is not valid.
const SESSION: &str = "session";

/// The time between two searches for retired keys whose tokens have all expired.
const SWEEP: Duration = Duration::from_secs(60);

/// An error while issuing or verifying a session token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The token is not valid.
    #[error("the token is not valid")]
    Invalid,
    /// The token has expired.
    #[error("the token has expired")]
    Expired,
    /// Signing failed.
    #[error("tokens cannot be signed: {0}")]
    Sign(String),
    /// The keys cannot be read or written.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// The content of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claims {
    /// The user.
    pub(crate) sub: UserId,
    /// The user's email, for readers of the token. The user's record takes precedence.
    pub(crate) email: String,
    /// The user's role when the token was issued. The token is refused if the user's record has a different role.
    pub(crate) role: Role,
    /// The time at which the token was issued, in Unix seconds.
    pub(crate) iat: i64,
    /// The time at which the token expires, in Unix seconds.
    pub(crate) exp: i64,
    /// The token's own id.
    pub(crate) jti: Uuid,
    /// Always `sentrazone`.
    pub(crate) aud: String,
    /// Always `session`.
    pub(crate) typ: String,
    /// The user's session epoch to which the token belongs.
    pub(crate) epoch: u64,
}

/// Issues and verifies tokens.
pub(crate) struct Tokens {
    keys: RwLock<Arc<Keys>>,
    /// Held while the ring is being changed.
    turn: Mutex<()>,
    validation: Validation,
}

/// The ring of keys, prepared for signing and verifying.
struct Keys {
    ring: Ring,
    current: Signer,
    old: Vec<Signer>,
}

struct Signer {
    encoding: EncodingKey,
    decoding: DecodingKey,
    written: Header,
    /// The encoded header, with which every token signed by this key begins.
    header: String,
    retired_at: Option<Timestamp>,
}

impl Signer {
    fn new(key: &Key) -> Result<Self, TokenError> {
        let encoding = EncodingKey::from_secret(key.secret.as_slice());
        let written = Header {
            kid: Some(key.kid.clone()),
            ..Header::new(Algorithm::HS256)
        };
        let trial = jsonwebtoken::encode(&written, &serde_json::json!({}), &encoding)
            .map_err(|error| TokenError::Sign(error.to_string()))?;
        Ok(Self {
            header: trial.split('.').next().unwrap_or_default().to_owned(),
            decoding: DecodingKey::from_secret(key.secret.as_slice()),
            encoding,
            written,
            retired_at: key.retired_at,
        })
    }

    fn sign(&self, claims: &Claims) -> Result<String, TokenError> {
        jsonwebtoken::encode(&self.written, claims, &self.encoding).map_err(|error| TokenError::Sign(error.to_string()))
    }

    /// Returns true if this key may have signed a token that was issued at `iat`. No token outlives the key, because
    /// every token has the same `LIFETIME`.
    fn may_have_signed(&self, iat: i64) -> bool {
        self.retired_at.is_none_or(|at| iat <= at.after(SKEW).unix())
    }
}

impl Keys {
    fn new(ring: Ring) -> Result<Arc<Self>, TokenError> {
        let old: Result<Vec<_>, _> = ring.old.iter().map(Signer::new).collect();
        Ok(Arc::new(Self {
            current: Signer::new(&ring.current)?,
            old: old?,
            ring,
        }))
    }
}

impl Tokens {
    /// Loads the keys in `state_dir`, or creates them if there are none. Also signs and verifies one token, so that a
    /// broken cryptography library prevents startup.
    pub(crate) fn load_or_create(state_dir: &Path) -> Result<Self, TokenError> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[AUDIENCE]);
        // `verify` checks the expiry, because the time is a parameter there.
        validation.validate_exp = false;
        let tokens = Self {
            keys: RwLock::new(Keys::new(Ring::load_or_create(state_dir)?)?),
            turn: Mutex::new(()),
            validation,
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
            typ: SESSION.to_owned(),
            epoch: 0,
        };
        let read = self.verify(&self.keys().current.sign(&claims)?, now)?;
        if read == claims {
            Ok(())
        } else {
            Err(TokenError::Invalid)
        }
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns a new token for `account` and the time at which it expires. The token is secret.
    pub(crate) fn issue(&self, account: &Account, now: Timestamp) -> Result<(String, Timestamp), TokenError> {
        let end = now.after(LIFETIME);
        let token = self.keys().current.sign(&Claims {
            sub: account.id,
            email: account.email.to_string(),
            role: account.role,
            iat: now.unix(),
            exp: end.unix(),
            jti: Uuid::new_v4(),
            aud: AUDIENCE.to_owned(),
            typ: SESSION.to_owned(),
            epoch: account.session_epoch,
        })?;
        Ok((token, end))
    }

    /// Returns the claims of `token` if this plane issued it and it has not expired.
    ///
    /// The header must be, byte for byte, the one that this plane writes for one of its keys: no other algorithm,
    /// key reference (`jwk`, `jku`, another `kid`) or `crit` extension ever reaches the library.
    pub(crate) fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, TokenError> {
        let keys = self.keys();
        let header = token.split('.').next().unwrap_or_default();
        let signer = std::iter::once(&keys.current)
            .chain(&keys.old)
            .find(|signer| signer.header == header)
            .ok_or(TokenError::Invalid)?;
        let claims = jsonwebtoken::decode::<Claims>(token, &signer.decoding, &self.validation)
            .map_err(|_| TokenError::Invalid)?
            .claims;
        if claims.exp <= now.unix() {
            return Err(TokenError::Expired);
        }
        let too_new = claims.iat > now.after(SKEW).unix();
        let too_long = claims.exp.saturating_sub(claims.iat) > LIFETIME.as_secs() as i64;
        if too_new || too_long || claims.typ != SESSION || !signer.may_have_signed(claims.iat) {
            return Err(TokenError::Invalid);
        }
        Ok(claims)
    }

    /// Signs with a new key from now on. Tokens that the old key has signed remain valid until they expire. `note` is
    /// called with the new key's id when the key is on disk but not in use yet, and may refuse. Returns that id and
    /// the time at which the old key is erased.
    pub(crate) async fn rotate<E: From<TokenError>>(
        &self,
        now: Timestamp,
        note: impl AsyncFnOnce(&str) -> Result<(), E>,
    ) -> Result<(String, Timestamp), E> {
        let _turn = self.turn.lock().await;
        let prepared = prepare(self.keys().ring.rotated(now).map_err(TokenError::from)?).await?;
        let kid = prepared.0.current.kid.clone();
        note(&kid).await?;
        self.install(prepared).await?;
        Ok((kid, now.after(LIFETIME + SKEW)))
    }

    /// Erases the retired keys whose tokens have all expired.
    async fn sweep(&self, now: Timestamp) -> Result<(), TokenError> {
        let _turn = self.turn.lock().await;
        match self.keys().ring.swept(now) {
            Some(ring) => self.install(prepare(ring).await?).await,
            None => Ok(()),
        }
    }

    /// Puts the ring in place on disk before using it, so that its tokens can be verified after a crash.
    async fn install(&self, (ring, prepared): (Ring, Prepared)) -> Result<(), TokenError> {
        let ring = blocking(move || ring.take_place(prepared).map(|()| ring)).await?;
        let keys = Keys::new(ring)?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// Erases the retired keys whose tokens have all expired, at once and then every minute, until the future is
    /// dropped. `now` returns the time.
    pub(crate) async fn housekeep(&self, now: impl Fn() -> Timestamp) {
        let mut minute = tokio::time::interval(SWEEP);
        minute.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            minute.tick().await;
            if let Err(error) = self.sweep(now()).await {
                tracing::warn!(%error, "an old signing key could not be erased; the next attempt is in a minute");
            }
        }
    }
}

async fn prepare(ring: Ring) -> Result<(Ring, Prepared), TokenError> {
    blocking(move || Ok((ring.clone(), ring.prepare()?))).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeyError> + Send + 'static,
) -> Result<T, TokenError> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| TokenError::Sign(error.to_string()))??)
}

#[cfg(test)]
mod tests;
