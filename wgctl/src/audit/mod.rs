//! The audit log's chain: how a record is hashed, how a checkpoint is signed, and the verification
//! of both, shared by plane and command.
//!
//! Owns the encoding (`docs/audit.md` gives it for others), the export's two forms, and which record
//! is named as the first that is not as it was written. It must not know where a log is kept.

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
