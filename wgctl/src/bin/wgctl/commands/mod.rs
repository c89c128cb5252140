//! The commands, with one file or directory per command or group.
//!
//! Owns their arguments, the calls that they make, and the text of their output. They must not draw or prompt by
//! themselves: `terminal` does so.

pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod key_generation;
pub(crate) mod login;
pub(crate) mod peer;
pub(crate) mod server;
pub(crate) mod show_interfaces;
pub(crate) mod status;
pub(crate) mod token;
pub(crate) mod user;
