//! The engine of the store: all code that depends on redb.
//!
//! Owns the open file, its schema and migrations, raw rows, the single writer and its jobs, and backups. It must not
//! contain business rules. The rows of each entity are in [`tables`].

pub(super) mod backup;
pub(super) mod database;
pub(super) mod definition;
pub(super) mod disk;
pub(super) mod engine;
pub(super) mod job;
pub(super) mod migration;
mod older_schemas;
pub(super) mod row_key;
pub(super) mod rows;
pub(super) mod schema;
mod tables;
pub(super) mod writer;
pub(super) mod writer_metrics;
