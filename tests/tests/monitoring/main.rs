//! The real programs as an operator sees them: metrics, dashboard, alert rules and logs.
//!
//! A plane and an agent run as separate processes on free ports. The agent drives a userspace
//! interface that has never been started: it communicates with the plane as usual but changes nothing on this
//! machine, so these tests need neither root nor a kernel with WireGuard.

// clippy.toml permits these in tests, but clippy treats only functions marked `#[test]` as tests.
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
