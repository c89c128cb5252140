//! What becomes of the audit log with time: checkpoints, and the end of records that are too old.
//!
//! Owns when the log is signed, when the key's change is told, and how much is removed at once. It
//! must not remove anything but the oldest records, and none unless the operator says so.

use std::time::Duration;

use wgctl::Timestamp;

use crate::fleet::{Caller, Fleet, Refusal};
use crate::model::caller::{Action, Actor, Entry};
use crate::store::Change;
use crate::store::{DurableWrite, LossyWrite};

/// How long news may be without a checkpoint.
const EVERY: Duration = Duration::from_secs(3600);

/// How many records are removed in one transaction.
const AT_ONCE: usize = 1000;

const DAY: i64 = 86_400;

/// The plane itself, as the log names it.
fn plane() -> Caller {
    Caller::standing(Actor::Local("sentrazone-plane".to_owned()), None)
}

impl Fleet {
    /// To be called once before anything is served: tells when the log's key is another than before,
    /// and signs what is there.
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

    /// To be called once after everything was served: tells what was only counted, and signs.
    pub async fn end_audit(&self) -> Result<(), Refusal> {
        self.tell_floods().await?;
        self.checkpoint_audit().await
    }

    /// Signs what the log is now, if that is news.
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

    /// What is due now and then.
    pub(crate) async fn keep_audit(&self) -> Result<(), Refusal> {
        self.tell_floods().await?;
        // A log of which nothing can be removed is signed as before.
        let pruned = self.prune_audit().await;
        let newest = self.store().read(|tx| Ok::<_, Refusal>(tx.audit_checkpoint()?))?;
        let now = self.now();
        // A clock that was set back makes it due.
        let recent = newest.is_some_and(|mark| mark.created_at <= now && now.since(mark.created_at) < EVERY);
        if !recent {
            self.checkpoint_audit().await?;
        }
        pruned
    }

    /// Removes what is too old, in whole days, so that it happens once a day.
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
