//! The plane: the central REST server, which records the desired state of all VPN servers.
//!
//! Owns the composition of its parts: `http` (the REST API), [`tls`] (the plane's certificate), `auth`
//! (authentication), [`fleet`] (the business rules), [`relay`] (waiting agents and requests), [`history`]
//! (the encoding of samples) and [`store`] (the database).
//! It must not link netlink: network interfaces belong to the agents.

pub mod arguments;
mod auth;
pub mod config;
pub mod fleet;
pub mod history;
mod http;
mod keys;
mod model;
pub mod relay;
mod run;
pub mod store;
pub mod tls;
mod watchdog;

pub use auth::{Busy, PasswordError, TokenError};
pub use config::Config;
pub use http::{BindError, openapi};
pub use keys::root::KeyError;
pub use run::{Error, Plane, run};
pub use tls::TlsError;
