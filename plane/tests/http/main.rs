//! The plane over real sockets: every endpoint, as callers and agents use it.
//!
//! Each plane listens on port 0 and has its own state directory. Agents are threads that speak the
//! protocol over HTTP. These tests do not access the plane's internals.

// clippy.toml permits these in tests, but clippy sees only functions marked `#[test]` as such.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod adoption;
mod agent;
mod backup;
mod client;
mod clients;
mod command;
mod document;
mod edge;
mod floods;
mod forged;
mod hostile;
mod hostile_text;
mod limits;
mod matrix;
mod openapi;
mod paths;
mod people;
mod plane;
mod records;
mod released;
mod reports;
mod secrets;
mod servers;
mod sessions;
mod tls;
mod tokens;
