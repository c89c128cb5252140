//! The commands that make a host a server's, and hand it back: `enroll` and `release`.
//!
//! Owns the adoption of an interface that is there already, the reading of a wg-quick file, and the
//! preview of what would be done. It must not run as part of the agent's loop.

pub mod adopt;
pub mod enroll;
pub mod preview;
pub mod release;
pub mod wg_quick_file;
