//! The plane: REST in front, the record of what should be behind.

pub mod config;
