//! The plane: REST in front, the record of what should be behind.

mod auth;
pub mod config;
pub mod fleet;
mod history;
mod relay;
mod store;
