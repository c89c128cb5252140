//! The files that hold the plane's secrets.
//!
//! Owns the root key, the ring of session keys, and the key that signs the audit log's checkpoints.

pub(crate) mod audit;
pub(crate) mod root;
pub(crate) mod sessions;

/// The names of these files in the state directory.
pub(crate) const FILES: [&str; 3] = [root::FILE, sessions::FILE, audit::FILE];
