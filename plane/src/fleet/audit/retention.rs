//! Checkpoints of the audit log, and removal of records past the retention.
//!
//! Owns the times of checkpoints, the record of a changed key, and the size of one removal. It must
//! remove only the oldest records, and only if the operator has set a retention.

use std::time::Duration;

use wgctl::Timestamp;

use crate::fleet::{Caller, Fleet, Refusal};
use crate::model::caller::{Action, Actor, Entry};
use crate::store::Change;
use crate::store::{DurableWrite, LossyWrite};

/// The longest time that new records stay without a checkpoint.
const EVERY: Duration = Duration::from_secs(3600);

/// The most records that one transaction removes.
const AT_ONCE: usize = 1000;

const DAY: i64 = 86_400;

/// Returns the plane itself as the caller.
fn plane() -> Caller {
    Caller::standing(Actor::Local("sentrazone-plane".to_owned()), None)
}

impl Fleet {
    /// Records a change of the log's key since the last start, and signs the log. Call it once before
    /// anything is served.
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

    /// Records the left-out records that were only counted, and signs the log. Call it once after
    /// everything was served.
    pub async fn end_audit(&self) -> Result<(), Refusal> {
        self.tell_floods().await?;
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

    /// Maintains the log: records counts of floods, removes old records, and signs the log when a
    /// checkpoint is due.
    pub(crate) async fn keep_audit(&self) -> Result<(), Refusal> {
        self.tell_floods().await?;
        // A log from which nothing can be removed is still signed.
        let pruned = self.prune_audit().await;
        let newest = self.store().read(|tx| Ok::<_, Refusal>(tx.audit_checkpoint()?))?;
        let now = self.now();
        // A checkpoint from the future, after the clock was set back, makes a new one due.
        let recent = newest.is_some_and(|mark| mark.created_at <= now && now.since(mark.created_at) < EVERY);
        if !recent {
            self.checkpoint_audit().await?;
        }
        pruned
    }

    /// Removes records past the retention, in whole days, so that removals happen once a day.
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
                let Some((stub, removed)) = tx.prune_audit(before, AT_ONCE, &signer, now)? else {
                    return Ok(Change::none(0));
                };
                let detail = format!("{removed} records from before {before}, the last of them {}", stub.id);
                let entry = Entry::new(Action::AuditPruned, "audit").with_detail(detail);
                Ok(Change::new(removed, entry))
            });
            if removed.await? < AT_ONCE as u64 {
                return Ok(());
            }
        }
    }
}
