//! Backup and restore of the whole database.
//!
//! Owns the effects of a restore beyond the restored rows: all sessions end, every agent gets a
//! snapshot and confirms it again, and waiting requests are woken. It must not depend on the backup
//! format, which belongs to the store.

use std::fs::File;
use std::io::{BufReader, Seek as _};
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use wgctl::Timestamp;
use wgctl::api::{Head, Verification};
use wgctl::backup::Summary;

use super::{Caller, Fleet, Refusal, run_to_completion};
use crate::model::caller::{Action, Entry};
use crate::store::DurableWrite;
use crate::store::{Change, StoreError, check};

/// The maximum number of database copies on disk at any time, for backups and restores combined.
pub(super) const COPIES: usize = 2;

/// A copy of the database for a backup or a restore. The file is removed when the copy is dropped.
pub struct BackupCopy {
    /// The unnamed temporary file.
    pub file: File,
    /// The time at which the backup or restore began.
    pub at: Timestamp,
    _place: OwnedSemaphorePermit,
}

impl Fleet {
    /// Makes a backup of the database as it is at a single point in time. The returned file is
    /// positioned at its beginning. The backup contains its own audit record.
    pub async fn back_up(&self, caller: &Caller) -> Result<BackupCopy, Refusal> {
        let (place, at) = (self.place()?, self.now());
        let entry = Entry::new(Action::BackupCreated, "everything");
        self.change(caller, move |_: &dyn DurableWrite| Ok(Change::new((), entry)))
            .await?;
        let file = self.store().back_up(at).await?;
        Ok(BackupCopy {
            file,
            at,
            _place: place,
        })
    }

    /// Returns an empty copy, to be filled with the backup to restore.
    pub fn receive(&self) -> Result<BackupCopy, Refusal> {
        Ok(BackupCopy {
            _place: self.place()?,
            file: self.store().scratch()?,
            at: self.now(),
        })
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let place = Arc::clone(&self.shared.copies).try_acquire_owned();
        place.map_err(|_| {
            Refusal::Busy(format!(
                "{COPIES} backups or restores are in progress: try again in a minute"
            ))
        })
    }

    /// Checks a backup completely, then replaces all data with it. Runs to completion even if the
    /// client disconnects.
    pub async fn restore(&self, caller: &Caller, copy: BackupCopy) -> Result<Summary, Refusal> {
        let (fleet, caller) = (self.clone(), caller.clone());
        run_to_completion(async move {
            let checked = tokio::task::spawn_blocking(move || Ok((check(&copy.file)?, copy)));
            let ((summary, taken_over), copy) = checked.await.unwrap_or(Err(StoreError::Broken("a check panicked")))?;
            let (epoch, of, now) = (unused_epoch()?, summary.clone(), fleet.now());
            let signer = fleet.store().signer();
            let change = move |tx: &dyn DurableWrite| {
                let replaced = tx.audit_extent()?.head;
                replace(tx, copy, epoch)?;
                if let Some(signer) = signer {
                    tx.sign_pruned_again(&signer, now)?;
                }
                let entry = entry(&of, replaced, &taken_over);
                Ok(Change::new(taken_over.fault, entry))
            };
            let busy = fleet.store().mark_busy();
            let audit_fault = fleet.change(&caller, change).await?;
            drop(busy);
            if let Some(fault) = &audit_fault {
                tracing::warn!("the restored audit log has been altered: {fault}");
            }
            // From here on, checkpoints with this plane's key cover the restored log.
            if let Err(error) = fleet.checkpoint_audit().await {
                tracing::warn!(%error, "the restored audit log could not be signed; retrying within a minute");
            }
            // The previous audit log has been replaced as well, but this line remains in the system log.
            tracing::warn!(by = %caller.actor, "all data was replaced with the backup made at {}", summary.created_at);
            Ok(Summary { audit_fault, ..summary })
        })
        .await
    }
}

/// Returns the audit entry for a restore. The entry names the end of the replaced log, for readers who
/// know that log, and the key that signed the restored log. A fault in the restored log does not
/// prevent the restore: the entry records it permanently.
fn entry(summary: &Summary, replaced: Head, taken_over: &Verification) -> Entry {
    let entry = Entry::new(Action::DatabaseRestored, format!("backup of {}", summary.created_at));
    let mut detail = String::new();
    if let Some(fault) = &taken_over.fault {
        detail += &format!("its log has been altered: {fault}; ");
    }
    detail += &format!(
        "the previous log ended at {replaced}, the restored one at {}",
        taken_over.head
    );
    match &taken_over.public_key {
        Some(key) => detail += &format!(", signed by {key} up to record {}", taken_over.signed_until),
        None => detail += ", not signed",
    }
    entry.with_detail(detail)
}

fn replace(tx: &dyn DurableWrite, mut copy: BackupCopy, epoch: u64) -> Result<(), Refusal> {
    copy.file
        .rewind()
        .map_err(|error| StoreError::Unavailable(error.to_string()))?;
    tx.replace_by(&mut BufReader::new(&copy.file))?;
    for mut user in tx.users()? {
        user.session_epoch = epoch;
        tx.put_user(&user)?;
    }
    for server in tx.servers()? {
        let mut confirmation = tx.confirmation(&server.id)?;
        // The restored confirmations belong to the incarnation from which the backup was made.
        confirmation.applied_revision = None;
        confirmation.interface_failed = None;
        tx.put_confirmation(&server.id, &confirmation)?;
        tx.put_failures(&server.id, &[])?;
    }
    Ok(())
}

/// Returns a random session epoch, which no session has ever had. Incrementing the epoch in the backup
/// could revalidate sessions that have ended since the backup was made. The epoch has 52 bits, because
/// every JSON reader represents integers up to 2^53 exactly.
fn unused_epoch() -> Result<u64, Refusal> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|error| Refusal::Internal(format!("could not get random bytes from the operating system: {error}")))?;
    Ok(u64::from_be_bytes(bytes) >> 12)
}
