//! The typed HTTP client that `wgctl`, the agent and the tests share.
//!
//! Owns the transport (TCP, TLS, the plane's unix socket), the bearer token and the parsing of problem
//! reports. `rest` and `agent` define the endpoints. It must not retry or make decisions: that belongs to its
//! callers.

mod agent;
#[cfg(feature = "backup")]
mod backup;
mod call;
mod cause;
mod error;
mod plane_client;
mod rest;
mod target;
#[cfg(test)]
mod tests;
mod trust;

pub use error::Error;
pub use plane_client::PlaneClient;
pub use rest::{AuditFormat, AuditQuery, HistoryQuery};
pub use target::Target;
pub use trust::Trust;
