//! The wait until an agent has applied a change.
//!
//! Owns the wait. The confirmation itself is read from the store; the relay only wakes the wait.

use crate::store::Read;
use tokio::time::{Instant, timeout_at};
use wgctl::ServerId;

use crate::fleet::{Fleet, Refusal};

impl Fleet {
    /// Waits until the server's agent has confirmed `revision`, for as long as the settings allow and
    /// the agent is connected. Returns whether it has.
    pub(super) async fn wait_until_confirmed(&self, server: &ServerId, revision: u64) -> Result<bool, Refusal> {
        let deadline = Instant::now() + self.settings().apply_timeout;
        let line = self.shared.relay.line(server);
        loop {
            let mut news = line.people_news();
            if line.is_cut() {
                // The server was removed, or the database was restored: the store no longer has this
                // revision.
                return Ok(false);
            }
            if self
                .applied_revision(server)?
                .is_some_and(|applied| applied >= revision)
            {
                return Ok(true);
            }
            if !line.connected() {
                return Ok(false);
            }
            if timeout_at(deadline, news.changed()).await.is_err() {
                return Ok(false);
            }
        }
    }

    /// Returns the revision that the server's agent has confirmed.
    pub(crate) fn applied_revision(&self, server: &ServerId) -> Result<Option<u64>, Refusal> {
        self.store().read(|tx| applied(tx, server))
    }
}

fn applied(tx: &dyn Read, server: &ServerId) -> Result<Option<u64>, Refusal> {
    Ok(tx.confirmation(server)?.applied_revision)
}
