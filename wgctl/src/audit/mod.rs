//! The audit log's chain, shared by the plane and `wgctl`: the hash of a record, the signature of a checkpoint,
//! and the verification of both.
//!
//! Owns the encoding (documented in `docs/audit.md`), the two formats of the export, and the rules that determine
//! which record is reported as the first one that has been tampered with. It must not know where a log is stored.

mod chain;
mod csv;
mod export;
mod recognition;
mod sign;
#[cfg(test)]
mod tests;
mod verify;

pub use chain::{canonical, follow};
pub use csv::{COLUMNS, rows};
pub use export::{lines, require_signature, verify_file};
pub use recognition::ExportReader;
pub use sign::{CHECKPOINT_EVERY, KeyRefused, Signer, is_genuine, is_genuine_stub};
pub use verify::{Expected, Verifier};
