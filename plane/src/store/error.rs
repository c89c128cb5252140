//! The errors of the store.
//!
//! Owns [`StoreError`], the only error type in the code under `store`. It must not expose redb's types.

use std::path::{Path, PathBuf};

/// An error from the store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The disk or the database failed. No part of the change was kept.
    #[error("the database is unavailable ({0}): check the disk and the plane's log, then try again")]
    Unavailable(String),
    /// The database could not be opened.
    #[error("cannot open the database {path}: {reason}")]
    Open {
        /// The database file.
        path: PathBuf,
        /// The reason, and the action to take.
        reason: String,
    },
    /// Another process has the database open.
    #[error(
        "cannot open the database {}: another process has it open: stop the other sentrazone-plane first",
        .0.display()
    )]
    Locked(PathBuf),
    /// The disk is nearly full. No write was attempted, and reads still work.
    #[error(
        "the database cannot be changed (its disk has {free} bytes free, but {needed} are needed): \
         make room on the disk; no restart is needed"
    )]
    Full {
        /// The free space, in bytes.
        free: u64,
        /// The free space that a change needs, in bytes.
        needed: u64,
    },
    /// The content of the database file differs from what was written to it.
    #[error(
        "the database {path} is damaged ({reason}): \
         restore a backup in its place; the plane does not open a damaged database"
    )]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// The damage that was found.
        reason: String,
    },
    /// The database was written by a newer release.
    #[error(
        "the database {path} has schema {found}, but this release only supports schemas up to {known}: \
         install the release that wrote it, or {}; \
         in the latter case, all changes made since the upgrade are lost",
        way_back(.copy.as_deref())
    )]
    TooNew {
        /// The database file.
        path: PathBuf,
        /// The schema version of the file.
        found: u64,
        /// The newest schema version that this release supports.
        known: u64,
        /// The copy made before the upgrade, if this release supports its schema.
        copy: Option<PathBuf>,
    },
    /// The input cannot be restored as a backup. Nothing was changed.
    #[error("{0}; nothing was changed")]
    BadBackup(String),
    /// A record cannot be read.
    #[error("a record in the database cannot be read ({0}): restore a backup")]
    Corrupt(String),
    /// An audit record has been altered or cannot be read. That record and all later ones are kept, regardless of their
    /// age.
    #[error(
        "record {0} of the audit log has been altered or cannot be read, so that record and all later ones are not \
         pruned: run `wgctl audit verify` for details"
    )]
    AuditFault(u64),
    /// A database with an older schema could not be migrated. The step that failed has left no changes.
    #[error("the database {path} could not be migrated from schema {from} to {to}: {reason}")]
    Migration {
        /// The database file.
        path: PathBuf,
        /// The schema version of the file.
        from: u64,
        /// The schema version that the failed step leads to.
        to: u64,
        /// The reason, and the action to take.
        reason: String,
    },
    /// A change failed after it had begun to write, or it wrote without an audit record. This is a bug.
    #[error("a change violated the store's rules ({0}) and was undone: this is a bug, please report it")]
    Broken(&'static str),
}

/// Returns the way to a database that an older release can open.
fn way_back(copy: Option<&Path>) -> String {
    match copy {
        Some(copy) => format!("put {}, the copy made before the upgrade, in its place", copy.display()),
        None => "move it aside and restore a backup made before the upgrade".to_owned(),
    }
}
