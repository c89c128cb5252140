//! The engine of the store: everything that knows redb.
//!
//! Owns the open file, its schema and migrations, rows of bytes, the one writer with its jobs, and backups. The rows of
//! each entity are in [`tables`]. It must not hold business rules.

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
