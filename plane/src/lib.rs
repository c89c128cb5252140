//! The plane: REST in front, the record of what should be behind.
//!
//! Owns the order in which the parts start and stop. The parts: [`http`](self) (the edge), `auth`
//! (who somebody is), `fleet` (what may be), `relay` (who waits for what), `history` and `store`.
//! It must not link netlink: interfaces are the agents'.

mod auth;
pub mod config;
mod fleet;
mod history;
mod http;
mod relay;
mod run;
mod store;

pub use config::Config;
pub use run::{Error, Plane, run};
