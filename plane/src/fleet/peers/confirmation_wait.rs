//! The wait for an agent to apply a change.
//!
//! Owns the wait. It must not treat a wake as a confirmation: the relay only wakes the waiting
//! request, and the confirmation is read from the store.

use crate::store::Read;
use tokio::time::{Instant, timeout_at};
use wgctl::ServerId;

use crate::fleet::{Fleet, Refusal};

impl Fleet {
    /// Waits until the server's agent has confirmed `revision`, for as long as the settings allow and
    /// the agent is connected. Returns whether the agent has confirmed it.
    pub(super) async fn wait_until_confirmed(&self, server: &ServerId, revision: u64) -> Result<bool, Refusal> {
        let deadline = Instant::now() + self.settings().apply_timeout;
        let waiters = self.shared.relay.waiters(server);
        loop {
            let mut news = waiters.people_news();
            if waiters.is_cut() {
                // The server has been removed, the database has been restored, or a token of the agent
                // is no longer valid. The confirmation may never arrive.
                return Ok(false);
            }
            if self
                .applied_revision(server)?
                .is_some_and(|applied| applied >= revision)
            {
                return Ok(true);
            }
            if !waiters.connected() {
                return Ok(false);
            }
            if timeout_at(deadline, news.changed()).await.is_err() {
                return Ok(false);
            }
        }
    }

    /// Returns the revision that the server's agent has confirmed, if any.
    pub(crate) fn applied_revision(&self, server: &ServerId) -> Result<Option<u64>, Refusal> {
        self.store().read(|tx| applied(tx, server))
    }
}

fn applied(tx: &dyn Read, server: &ServerId) -> Result<Option<u64>, Refusal> {
    Ok(tx.confirmation(server)?.applied_revision)
}
