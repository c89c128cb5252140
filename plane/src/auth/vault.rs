//! The encryption of responses that are stored for repeated requests and may contain secrets.
//!
//! Owns sealing such a response under a key that is derived from both `jwt.key` and the request's own
//! Idempotency-Key, so that the database alone reveals nothing.

use chacha20poly1305::aead::{Aead as _, KeyInit as _};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::fleet::Vault;
use crate::keys::root::RootKey;

const NONCE: usize = 24;

/// Seals and opens the stored response to one request.
pub(crate) struct AnswerVault {
    cipher: XChaCha20Poly1305,
}

impl AnswerVault {
    /// Creates the vault for the request with this `idempotency_key`.
    pub(crate) fn new(key: &RootKey, idempotency_key: &[u8]) -> Result<Self, String> {
        let mut derived = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(idempotency_key), key.as_bytes())
            .expand(b"sentrazone/v1/idempotent-answer", derived.as_mut_slice())
            .map_err(|error| error.to_string())?;
        let cipher = XChaCha20Poly1305::new_from_slice(derived.as_slice()).map_err(|error| error.to_string())?;
        Ok(Self { cipher })
    }
}

impl Vault for AnswerVault {
    fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, String> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|error| error.to_string())?;
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(nonce), plain)
            .map_err(|_| "the response could not be sealed".to_owned())?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, String> {
        let (nonce, text) = sealed
            .split_first_chunk::<NONCE>()
            .ok_or("the stored response is truncated")?;
        self.cipher
            .decrypt(&XNonce::from(*nonce), text)
            .map_err(|_| "the stored response cannot be opened: jwt.key has been replaced since then".to_owned())
    }
}

/// Returns a keyed hash of `parts`: HMAC-SHA-256 under `jwt.key`, with a prefix for this purpose. An unkeyed hash
/// of a body that contains a password would allow anyone who steals the database to guess the password.
pub(crate) fn fingerprint(key: &RootKey, parts: &[&[u8]]) -> [u8; 32] {
    let mut message = Zeroizing::new(b"sentrazone/v1/fingerprint".to_vec());
    for part in parts {
        message.extend_from_slice(&(part.len() as u64).to_be_bytes());
        message.extend_from_slice(part);
    }
    Hkdf::<Sha256>::extract(Some(key.as_bytes()), &message).0.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_request_opens_the_stored_response() {
        let dir = tempfile::tempdir().unwrap();
        let key = RootKey::load_or_create(dir.path()).unwrap();
        let vault = AnswerVault::new(&key, b"once").unwrap();
        let sealed = vault.seal(b"szagent_secret").unwrap();
        assert_ne!(sealed, vault.seal(b"szagent_secret").unwrap());
        assert_eq!(vault.open(&sealed).unwrap(), b"szagent_secret");
        assert!(AnswerVault::new(&key, b"twice").unwrap().open(&sealed).is_err());
        assert!(vault.open(&sealed[..10]).is_err());
    }

    #[test]
    fn the_boundaries_between_parts_affect_the_fingerprint() {
        let dir = tempfile::tempdir().unwrap();
        let key = RootKey::load_or_create(dir.path()).unwrap();
        assert_ne!(fingerprint(&key, &[b"ab", b"c"]), fingerprint(&key, &[b"a", b"bc"]));
    }
}
