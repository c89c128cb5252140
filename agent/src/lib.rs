//! x
pub mod host;
