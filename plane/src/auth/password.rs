//! Password hashing and verification.
//!
//! Owns argon2id and the limit on simultaneous hashes: each hash takes 46 MiB of memory and tens of milliseconds of
//! processor time, which a flood of logins must not multiply. It must not know accounts.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, PasswordHash, Version};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::password_policy::{MOST_BYTES, Password};

/// The memory cost, in KiB. OWASP ASVS 5.0, appendix on password storage: argon2id with at least 46 MiB and one pass.
const MEMORY_KIB: u32 = 47_104;
const PASSES: u32 = 1;
const LANES: u32 = 1;

/// The number of callers that may wait for a hash. Further callers are told to try again later.
const QUEUE: usize = 64;

/// An error while hashing or checking a password.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many callers are waiting already.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The hash function failed.
    #[error("passwords cannot be hashed: {0}")]
    Hash(String),
}

/// Too many callers are waiting for a hash already.
#[derive(Debug, thiserror::Error)]
#[error("too many logins at once")]
pub struct Busy;

/// Hashes and checks passwords, a few at a time.
pub(crate) struct Passwords {
    running: Arc<Semaphore>,
    admitted: Semaphore,
    /// A hash of a random password, with the usual cost. A password for an unknown email is checked against it.
    decoy: String,
}

impl Passwords {
    /// Allows half as many simultaneous hashes as there are processors, but at least two.
    pub(crate) fn new() -> Result<Self, PasswordError> {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let at_once = (processors / 2).max(2);
        let mut random = Zeroizing::new([0; 32]);
        getrandom::fill(random.as_mut_slice()).map_err(|error| PasswordError::Hash(error.to_string()))?;
        Ok(Self {
            running: Arc::new(Semaphore::new(at_once)),
            admitted: Semaphore::new(at_once + QUEUE),
            decoy: hash(random.as_slice())?,
        })
    }

    /// Returns the hash of `password`, as a PHC string.
    pub(crate) async fn hash(&self, password: Password) -> Result<String, PasswordError> {
        self.run(move || hash(password.as_bytes())).await?
    }

    /// Returns true if `password` matches `stored`. Without a stored hash, it returns false
    /// after the same amount of time.
    pub(crate) async fn verify(&self, password: Password, stored: Option<&str>) -> Result<bool, PasswordError> {
        let known = stored.is_some();
        let stored = stored.unwrap_or(&self.decoy).to_owned();
        let matches = self.run(move || matches(password.as_bytes(), &stored)).await?;
        Ok(matches && known)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PasswordError> {
        let _admitted = self.admitted.try_acquire().map_err(|_| Busy)?;
        // The permit belongs to the work, which continues even if the caller disconnects.
        let running = Arc::clone(&self.running).acquire_owned().await.map_err(|_| Busy)?;
        let work = move || {
            let _running = running;
            work()
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| PasswordError::Hash(error.to_string()))
    }
}

fn argon2() -> Result<Argon2<'static>, PasswordError> {
    let params =
        Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|error| PasswordError::Hash(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &[u8]) -> Result<String, PasswordError> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| PasswordError::Hash(error.to_string()))?;
    argon2()?
        .hash_password_with_salt(password, &salt)
        .map(|hash| hash.to_string())
        .map_err(|error| PasswordError::Hash(error.to_string()))
}

/// Returns true if a hash costs an attacker less than a new one would.
pub(crate) fn is_weak(stored: &str) -> bool {
    let Ok(hash) = PasswordHash::new(stored) else {
        return true;
    };
    let current = hash.algorithm == Algorithm::Argon2id.ident() && hash.version == Some(Version::V0x13.into());
    let costly = Params::try_from(&hash).is_ok_and(|params| params.m_cost() >= MEMORY_KIB && params.t_cost() >= PASSES);
    !(current && costly)
}

/// Returns true if `password` matches `stored`. It uses the parameters of the stored hash, not the current ones.
fn matches(password: &[u8], stored: &str) -> bool {
    password.len() <= MOST_BYTES
        && PasswordHash::new(stored).is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    #[tokio::test]
    async fn only_the_password_matches_its_hash() {
        let passwords = Passwords::new().unwrap();
        let stored = passwords.hash(secret("correct horse battery")).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=47104,t=1,p=1$"), "{stored}");
        assert!(
            passwords
                .verify(secret("correct horse battery"), Some(&stored))
                .await
                .unwrap()
        );
        assert!(
            !passwords
                .verify(secret("correct horse batterY"), Some(&stored))
                .await
                .unwrap()
        );
        assert!(!passwords.verify(secret("correct horse battery"), None).await.unwrap());
        assert!(!passwords.verify(secret("x"), Some("no hash")).await.unwrap());
    }

    #[tokio::test]
    async fn a_flood_is_refused_and_not_queued_without_limit() {
        let passwords = Passwords::new().unwrap();
        let flood =
            futures_util::future::join_all((0..200).map(|_| passwords.verify(secret("x"), Some("no hash")))).await;
        let refused = flood
            .iter()
            .filter(|result| matches!(result, Err(PasswordError::Busy(_))))
            .count();
        assert!(refused > 0 && refused < 200, "{refused} of 200");
        assert!(!passwords.verify(secret("x"), Some("no hash")).await.unwrap());
    }

    #[tokio::test]
    async fn composed_and_decomposed_accents_are_the_same_password() {
        let passwords = Passwords::new().unwrap();
        let stored = passwords
            .hash(secret("caf\u{e9} au lait s'il vous pla\u{ee}t"))
            .await
            .unwrap();
        let decomposed = secret("cafe\u{301} au lait s'il vous plai\u{302}t");
        assert!(passwords.verify(decomposed, Some(&stored)).await.unwrap());
        let without = secret("cafe au lait s'il vous plait");
        assert!(!passwords.verify(without, Some(&stored)).await.unwrap());
    }

    #[test]
    fn a_hash_that_costs_less_than_a_new_one_is_weak() {
        let salted =
            |params: &str| format!("${params}$c29tZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g");
        for weak in [
            "argon2id$v=19$m=19456,t=2,p=1",
            "argon2i$v=19$m=47104,t=1,p=1",
            "argon2id$v=16$m=47104,t=1,p=1",
            "pbkdf2-sha256$i=600000",
        ] {
            assert!(is_weak(&salted(weak)), "{weak}");
        }
        assert!(is_weak("no hash"));
        assert!(!is_weak(&salted("argon2id$v=19$m=47104,t=1,p=1")));
        assert!(!is_weak(&salted("argon2id$v=19$m=65536,t=3,p=4")));
        assert!(!is_weak(&hash(b"correct horse battery").unwrap()));
    }
}
