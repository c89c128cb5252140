//! Checkpoints of the audit log, and removal of records that are older than the retention period.
//!
//! Owns the checkpoint schedule, the recording of a changed key, and the size of one removal. It must
//! not remove anything but the oldest records, and nothing at all unless the operator has set a
//! retention period.

use std::time::Duration;

use wgctl::Timestamp;

use crate::fleet::{Caller, Fleet, Refusal};
use crate::model::caller::{Action, Actor, Entry};
use crate::store::Change;
use crate::store::{DurableWrite, LossyWrite};

/// The longest time for which new records remain without a checkpoint.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(3600);

/// The maximum number of records that one transaction removes.
const PRUNE_BATCH: usize = 1000;

const DAY: i64 = 86_400;

/// Returns a caller that stands for the plane itself.
fn plane() -> Caller {
    Caller::standing(Actor::Local("sentrazone-plane".to_owned()), None)
}

impl Fleet {
    /// Adds a record to the log if its signing key has changed since the last start, and signs the log.
    /// Call this once, before the first request is served.
    pub async fn begin_audit(&self) -> Result<(), Refusal> {
        let Some(signer) = self.store().signer() else {
            return Ok(());
        };
        let key = signer.public_key();
        let (pruned, newest) = self.store().read(|tx| {
            let pruned = tx.audit_extent()?.pruned;
            Ok::<_, Refusal>((pruned, tx.audit_checkpoint()?))
        })?;
        let keys = [newest.map(|mark| mark.public_key), pruned.map(|stub| stub.public_key)];
        if let Some(other) = keys.into_iter().flatten().find(|other| *other != key) {
            let detail = format!("from {other} to {key}");
            let entry = Entry::new(Action::AuditKeyChanged, "audit").with_detail(detail);
            let now = self.now();
            self.change(&plane(), move |tx: &dyn DurableWrite| {
                tx.sign_pruned_again(&signer, now)?;
                Ok(Change::new((), entry))
            })
            .await?;
        }
        self.checkpoint_audit().await
    }

    /// Records the number of omitted audit records, and signs the log. Call this once, after the last
    /// request has been served.
    pub async fn end_audit(&self) -> Result<(), Refusal> {
        self.record_omitted().await?;
        self.checkpoint_audit().await
    }

    /// Signs the log, unless its end is already signed.
    pub(crate) async fn checkpoint_audit(&self) -> Result<(), Refusal> {
        let (Some(signer), now) = (self.store().signer(), self.now()) else {
            return Ok(());
        };
        self.store()
            .record_durably(move |tx: &dyn LossyWrite| {
                tx.checkpoint_audit(&signer, now)?;
                Ok(())
            })
            .await
    }

    /// Maintains the log: records the number of omitted audit records, removes old records, and signs
    /// the log if a checkpoint is due.
    pub(crate) async fn maintain_audit(&self) -> Result<(), Refusal> {
        self.record_omitted().await?;
        // The log is signed even if the removal fails.
        let pruned = self.prune_audit().await;
        let newest = self.store().read(|tx| Ok::<_, Refusal>(tx.audit_checkpoint()?))?;
        let now = self.now();
        // If the clock has been set back, the newest checkpoint may be in the future. A new one is then
        // due.
        let recent =
            newest.is_some_and(|mark| mark.created_at <= now && now.since(mark.created_at) < CHECKPOINT_INTERVAL);
        if !recent {
            self.checkpoint_audit().await?;
        }
        pruned
    }

    /// Removes records that are older than the retention period. Only whole days are removed, so there
    /// is something to remove only once a day.
    async fn prune_audit(&self) -> Result<(), Refusal> {
        let (Some(kept), Some(signer)) = (self.settings().audit_retention, self.store().signer()) else {
            return Ok(());
        };
        let now = self.now();
        let oldest = now.before(kept).unix();
        let before = Timestamp::from_unix(oldest - oldest.rem_euclid(DAY));
        let plane = plane();
        loop {
            let signer = signer.clone();
            let removed = self.change(&plane, move |tx: &dyn DurableWrite| {
                let Some((stub, removed)) = tx.prune_audit(before, PRUNE_BATCH, &signer, now)? else {
                    return Ok(Change::none(0));
                };
                let detail = format!("{removed} records from before {before}, the last of them {}", stub.id);
                let entry = Entry::new(Action::AuditPruned, "audit").with_detail(detail);
                Ok(Change::new(removed, entry))
            });
            if removed.await? < PRUNE_BATCH as u64 {
                return Ok(());
            }
        }
    }
}
