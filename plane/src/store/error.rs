//! Why the store could not do what was asked.
//!
//! Owns [`StoreError`], the one error of everything under `store`. It must not show redb's types.

use std::path::PathBuf;

/// The store's error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The disk or the database failed; nothing of the change was kept.
    #[error("the database cannot be used now ({0}): check the disk and the plane's log, then try again")]
    Unavailable(String),
    /// The database could not be opened.
    #[error("cannot open the database {path}: {reason}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// Another process has the database.
    #[error("cannot open the database {}: another process has it open: stop the other sentrazone-plane first", .0.display())]
    Locked(PathBuf),
    /// The disk has no room for more; nothing was tried, and reading goes on.
    #[error(
        "the database cannot be changed now (its disk has {free} bytes left, it needs {needed}): \
         make room on the disk, no restart is needed"
    )]
    Full {
        /// What is left, in bytes.
        free: u64,
        /// What must be left before a change is begun.
        needed: u64,
    },
    /// The database's file is not what was written to it.
    #[error(
        "the database {path} is damaged ({reason}): \
         restore a backup in its place; the plane does not use a damaged one"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
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
        /// Its schema version.
        found: u64,
        /// The newest one known here.
        known: u64,
    },
    /// What was given as a backup cannot be restored; nothing was changed.
    #[error("{0}; nothing was changed")]
    BadBackup(String),
    /// A record cannot be read.
    #[error("a record in the database cannot be read ({0}): restore a backup")]
    Corrupt(String),
    /// A record of the audit log is not as it was written, and so none from it on is removed for its age.
    #[error(
        "no record of the audit log is removed from record {0} on, which is not as it was written: `wgctl audit verify` says more"
    )]
    AuditFault(u64),
    /// An older release's database could not be taken forward; it is as it was.
    #[error("the database {path} could not be taken from schema {from} to {to}: {reason}")]
    Migration {
        /// The file.
        path: PathBuf,
        /// Its schema.
        from: u64,
        /// The schema it was to get next.
        to: u64,
        /// Why not, and what to do.
        reason: String,
    },
    /// A change was decided after it had begun to write, or wrote without an audit record. A bug.
    #[error("a change broke the store's rules ({0}); nothing of it was kept. This is a bug: report it")]
    Broken(&'static str),
}
