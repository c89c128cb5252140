//! Housekeeping: removal of expired rows once a minute, and maintenance of the audit log.
//!
//! Owns the schedule and the maximum size of one transaction. It must not define how long rows are
//! kept: the modules that own the rows do.

use std::time::Duration;

use wgctl::Timestamp;

use super::{Fleet, Refusal, idempotency, limits};
use crate::history;
use crate::store::LossyWrite;

/// The maximum number of expired rows that one transaction removes from a table.
const SWEEP: usize = 1000;

impl Fleet {
    /// Removes expired rows (history older than 72 h, old idempotency keys, penalties) and maintains
    /// the audit log, now and every minute until the future is dropped. Spawn it once.
    pub async fn housekeep(self) {
        let mut minute = tokio::time::interval(Duration::from_secs(60));
        minute.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            minute.tick().await;
            if let Err(error) = self.sweep().await {
                tracing::warn!("old records could not be removed ({error}); retrying in a minute");
            }
            if let Err(error) = self.maintain_audit().await {
                tracing::warn!(%error, "the audit log could not be maintained; retrying in a minute");
            }
        }
    }

    /// Removes all expired rows.
    pub(crate) async fn sweep(&self) -> Result<(), Refusal> {
        let now = self.now();
        let (oldest, _) = history::place(now.before(history::RETENTION));
        self.store()
            .record(move |tx: &dyn LossyWrite| tx.erase_hours_before(oldest))
            .await
            .map_err(Refusal::Store)?;
        loop {
            let swept = self
                .store()
                .record(move |tx: &dyn LossyWrite| sweep_some(tx, now))
                .await;
            if swept? < SWEEP {
                return Ok(());
            }
        }
    }
}

fn sweep_some(tx: &dyn LossyWrite, now: Timestamp) -> Result<usize, Refusal> {
    let answers = tx.sweep_answers(now.before(idempotency::KEPT), SWEEP)?;
    let penalties = tx.sweep_penalties(now.before(limits::failed_logins::FORGOTTEN), SWEEP)?;
    Ok(answers.max(penalties))
}
