//! The commands that assign a host to a server and release it again: `enroll` and `release`.
//!
//! Owns the adoption of an existing interface, the reading of a wg-quick file, and the preview of the changes. It
//! must not run as part of the agent's loop.

pub mod adopt;
pub mod enroll;
pub mod preview;
pub mod release;
pub mod wg_quick_file;
