//! Checkpoints: the plane's signature (Ed25519, RFC 8032) for the state of the log at a record.
//!
//! Owns the text that is signed. It must not store the key: the key file belongs to the plane.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::api::{AuditKey, Checkpoint, Head, Pruned, Signature};
use crate::time::Timestamp;

/// The interval between mandatory checkpoints, in records. Every record whose number is a multiple of it gets a
/// checkpoint; other records may get one too.
pub const CHECKPOINT_EVERY: u64 = 1000;

/// The error for bytes that are not a signing key, and for a failed signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the 32 bytes are not an Ed25519 key")]
pub struct KeyRefused;

/// A key pair that signs checkpoints.
pub struct Signer {
    pair: Ed25519KeyPair,
    public_key: AuditKey,
}

impl Signer {
    /// Creates a key pair from 32 random bytes, which are secret.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, KeyRefused> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyRefused)?;
        let public_key = pair.public_key().as_ref().try_into().map_err(|_| KeyRefused)?;
        Ok(Self {
            pair,
            public_key: AuditKey(public_key),
        })
    }

    /// Returns the public key that verifies its signatures.
    #[must_use]
    pub const fn public_key(&self) -> AuditKey {
        self.public_key
    }

    /// Signs a statement of the log's state at `head`.
    pub fn checkpoint(&self, head: Head, now: Timestamp) -> Result<Checkpoint, KeyRefused> {
        Ok(Checkpoint {
            id: head.id,
            hash: head.hash,
            created_at: now,
            public_key: self.public_key,
            signature: self.sign(&checkpoint_text(head, now))?,
        })
    }

    /// Signs a statement that `count` records, the last of them at `head`, were removed because of their age.
    pub fn pruned(&self, head: Head, count: u64, now: Timestamp) -> Result<Pruned, KeyRefused> {
        Ok(Pruned {
            id: head.id,
            hash: head.hash,
            count,
            created_at: now,
            public_key: self.public_key,
            signature: self.sign(&pruned_text(head, count, now))?,
        })
    }

    fn sign(&self, text: &str) -> Result<Signature, KeyRefused> {
        let signature = self.pair.try_sign(text.as_bytes()).map_err(|_| KeyRefused)?;
        signature.as_ref().try_into().map(Signature).map_err(|_| KeyRefused)
    }
}

fn checkpoint_text(head: Head, now: Timestamp) -> String {
    let Head { id, hash } = head;
    format!("sentrazone audit checkpoint\n{id}\n{hash}\n{now}\n")
}

fn pruned_text(head: Head, count: u64, now: Timestamp) -> String {
    let Head { id, hash } = head;
    format!("sentrazone audit pruned\n{id}\n{hash}\n{count}\n{now}\n")
}

fn is_signed(key: &AuditKey, text: &str, signature: &Signature) -> bool {
    let key = UnparsedPublicKey::new(&ED25519, key.0);
    key.verify(text.as_bytes(), &signature.0).is_ok()
}

/// Returns true if the checkpoint is signed by the key that it names.
#[must_use]
pub fn is_genuine(checkpoint: &Checkpoint) -> bool {
    let Checkpoint {
        id,
        hash,
        created_at,
        public_key,
        signature,
    } = *checkpoint;
    is_signed(&public_key, &checkpoint_text(Head { id, hash }, created_at), &signature)
}

/// Returns true if the statement about removed records is signed by the key that it names.
#[must_use]
pub fn is_genuine_stub(stub: &Pruned) -> bool {
    let Pruned {
        id,
        hash,
        count,
        created_at,
        public_key,
        signature,
    } = *stub;
    let text = pruned_text(Head { id, hash }, count, created_at);
    is_signed(&public_key, &text, &signature)
}
