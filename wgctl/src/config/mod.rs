//! The wg-quick(8) text format: rendering device configurations and parsing wg-quick files.
//!
//! Owns the text format in both directions. Everything here is a pure function: it must not read or write
//! files, read the clock or execute anything. Every rendered value has been parsed into its type before, so
//! no name, address or endpoint can start a new line.

mod parse;
mod peer_config;
#[cfg(feature = "qr")]
pub mod qr_encoding;
mod render;
#[cfg(test)]
mod tests;

pub use parse::{Directive, Interface, ParseError, Peer, Refusal, WgQuick};
pub use peer_config::{PeerConfig, PeerConfigError};
