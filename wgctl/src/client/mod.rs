//! The one typed HTTP client: of the command, of the agent and of the tests.
//!
//! Owns the transport (TCP, TLS, the plane's unix socket), the bearer token and the reading of
//! problem reports. `rest` and `agent` name the endpoints. It must not retry or decide: that is
//! its callers' business.

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
