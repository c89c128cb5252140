//! The plane: REST in front, the record of what should be behind.
//!
//! Owns how its parts hang together: `http` (the edge), [`tls`] (whom the plane
//! shows itself as) and `auth` (who somebody is) in front,
//! [`fleet`] (what may be), [`relay`] (who waits for what), [`history`] and [`store`] behind.
//! It must not link netlink: interfaces are the agents'.

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
