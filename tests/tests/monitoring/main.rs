//! The operator's view of the real programs: metrics, dashboard, alert rules and logs.
//!
//! A plane and an agent run as separate processes on free ports. The agent drives a userspace
//! interface that was never started: it talks with the plane as usual and changes nothing on this
//! machine, so these tests need neither root nor a kernel with WireGuard.

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
