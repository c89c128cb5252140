//! The errors of the store.
//!
//! Owns [`StoreError`], the only error type of everything under `store`. It must not expose redb's types.

use std::path::PathBuf;

/// An error of the store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The disk or the database failed. Nothing of the change was kept.
    #[error("the database cannot be used now ({0}): check the disk and the plane's log, then try again")]
    Unavailable(String),
    /// The database could not be opened.
    #[error("cannot open the database {path}: {reason}")]
    Open {
        /// The file.
        path: PathBuf,
        /// The reason, and what to do.
        reason: String,
    },
    /// Another process has the database open.
    #[error("cannot open the database {}: another process has it open: stop the other sentrazone-plane first", .0.display())]
    Locked(PathBuf),
    /// The disk is nearly full. Nothing was attempted, and reads continue.
    #[error(
        "the database cannot be changed now (its disk has {free} bytes left, it needs {needed}): \
         make room on the disk, no restart is needed"
    )]
    Full {
        /// The free space, in bytes.
        free: u64,
        /// The free space that a change needs, in bytes.
        needed: u64,
    },
    /// The database's file differs from what was written to it.
    #[error(
        "the database {path} is damaged ({reason}): \
         restore a backup in its place; the plane does not use a damaged one"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The damage found.
        reason: String,
    },
    /// A newer release wrote this database.
    #[error(
        "the database {path} has schema {found}, this release knows up to {known}: \
         install the release that wrote it, or restore the copy made before the upgrade"
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// The schema version of the file.
        found: u64,
        /// The newest version that this release knows.
        known: u64,
    },
    /// The input cannot be restored as a backup. Nothing was changed.
    #[error("{0}; nothing was changed")]
    BadBackup(String),
    /// A record cannot be read.
    #[error("a record in the database cannot be read ({0}): restore a backup")]
    Corrupt(String),
    /// An audit record is not as it was written. It and all later records are kept, whatever their age.
    #[error(
        "the audit log is not pruned from record {0} on, because that record is not as it was written: run `wgctl audit verify` for details"
    )]
    AuditFault(u64),
    /// The database of an older release could not be migrated. It is unchanged.
    #[error("the database {path} could not be migrated from schema {from} to {to}: {reason}")]
    Migration {
        /// The file.
        path: PathBuf,
        /// The schema of the file.
        from: u64,
        /// The next schema.
        to: u64,
        /// The reason, and what to do.
        reason: String,
    },
    /// A change failed after it had begun to write, or wrote without an audit record. This is a bug.
    #[error("a change broke the store's rules ({0}); nothing of it was kept. This is a bug: report it")]
    Broken(&'static str),
}
