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
    /// A change was decided after it had begun to write, or wrote without an audit record. A bug.
    #[error("a change broke the store's rules ({0}); nothing of it was kept. This is a bug: report it")]
    Broken(&'static str),
}
