//! The commands, one file or folder a command or group.
//!
//! Owns their arguments, the calls they make and the text they answer with. They must not draw or ask
//! anything themselves: `terminal` does.

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
