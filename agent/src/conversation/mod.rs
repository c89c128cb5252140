//! The conversation with the planes: everything the agent asks and tells them.
//!
//! Owns the connection (which plane, when), the long poll, the reports and the replies. It must not
//! touch the interface: that is `reconcile`'s.

pub mod drift_reports;
#[cfg(test)]
pub(crate) mod fake_plane;
pub mod plane;
pub mod poll;
pub mod replies;
pub mod report;
