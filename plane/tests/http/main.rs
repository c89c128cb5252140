//! The plane over real sockets: every endpoint, as callers and agents use it.
//!
//! Each plane listens on port 0 and has its own state directory. Agents are threads that use the
//! protocol over HTTP. These tests do not access the plane's internals.

// clippy.toml permits these in tests, but clippy recognizes only functions marked `#[test]` as tests.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod api;
mod attacks;
mod fleet;
mod people;
mod service;
mod support;
