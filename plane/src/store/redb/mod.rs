//! The engine of the store: everything that knows redb.
//!
//! Owns the open file, its schema and migrations, rows of bytes, the one writer with its jobs, and backups. The rows of
//! each entity are in [`tables`]. It must not hold business rules.

pub(crate) mod backup;
pub(crate) mod database;
pub(crate) mod definition;
pub(crate) mod disk;
pub(crate) mod engine;
pub(crate) mod job;
pub(crate) mod migration;
pub(crate) mod older_schemas;
pub(crate) mod row_key;
pub(crate) mod rows;
pub(crate) mod schema;
pub(crate) mod tables;
pub(crate) mod writer;
pub(crate) mod writer_metrics;
