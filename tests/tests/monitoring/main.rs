//! What operators see: metrics, dashboard, alert rules and logs, of the real programs.
//!
//! A plane and an agent run as processes of their own on free ports. The agent drives a userspace
//! interface that nobody has started: it talks with the plane about everything and changes nothing on
//! this machine, so that these tests need neither root nor a kernel with WireGuard.

// clippy.toml permits these in tests, but clippy sees only functions marked `#[test]` as such.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod dashboard;
mod exposition;
mod http;
mod journal;
mod levels;
mod metrics;
mod promtool;
mod rig;
mod secrets;
