//! wg-quick(8) text: the configuration a device is given, and the reading of such files.
//!
//! Owns the text form, both ways. Everything here is a pure function of its values: it must not
//! read or write files, ask the clock or carry anything out. A value that is rendered has been
//! parsed into its type before, so that no name, address or endpoint can begin a line of its own.

mod parse;
mod peer_config;
#[cfg(feature = "qr")]
pub mod qr_encoding;
mod render;
#[cfg(test)]
mod tests;

pub use parse::{Directive, Interface, ParseError, Peer, Refusal, WgQuick};
pub use peer_config::{PeerConfig, PeerConfigError};
