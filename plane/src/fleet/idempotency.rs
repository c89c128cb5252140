//! A creating request that is sent again gets its first answer.
//!
//! Owns what is remembered of a request and for how long. It must not know the header.

use std::sync::Arc;

/// Keeps answers unreadable for who steals the database: an answer may hold a token.
pub trait Vault: Send + Sync {
    /// Encrypts.
    fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, String>;
    /// Decrypts what `seal` made.
    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, String>;
}

/// What makes two requests the same one.
#[derive(Clone)]
pub struct Idempotency {
    /// SHA-256 over who asks, the method, the path and their key.
    pub scope: [u8; 32],
    /// SHA-256 of the body.
    pub body: [u8; 32],
    /// Seals the answer at rest.
    pub vault: Arc<dyn Vault>,
}
