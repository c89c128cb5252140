//! What changed at which revision of a server's desired state, so that agents fetch differences.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use wgctl::{PeerId, ServerId};

use super::error::StoreError;
use super::key;
use super::record::Ledger;
use super::rows::{ChangeRows, Order, Rows};
use super::schema::{self, fixed};
use super::servers::ChangeServers;

/// How many changes a server's log keeps; an agent that is further behind gets a snapshot.
const KEPT: u64 = 10_000;

/// What changed between two revisions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) interface: bool,
    pub(crate) peers: BTreeSet<PeerId>,
}

/// Reading changes.
pub(crate) trait ReadChanges {
    /// What changed after `revision`.
    async fn changes_after(&self, server: &ServerId, revision: u64) -> Result<Changes, StoreError>;
}

/// Writing changes.
pub(crate) trait ChangeRevisions: ReadChanges {
    /// Logs `ledger.revision + 1` as the change of `peer` (of the interface when none), forgets what
    /// is too old, and writes the ledger.
    async fn log_change(&self, server: &ServerId, ledger: &mut Ledger, peer: Option<&PeerId>)
    -> Result<(), StoreError>;
}

impl<R: Rows> ReadChanges for R {
    async fn changes_after(&self, server: &ServerId, revision: u64) -> Result<Changes, StoreError> {
        let mut changes = Changes::default();
        let span = key::all(server).after(key::numbered(server, revision));
        self.visit(schema::CHANGES, span, Order::Up, |_, value| {
            if value.is_empty() {
                changes.interface = true;
            } else {
                changes.peers.insert(PeerId::from_bytes(fixed(value)?));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(changes)
    }
}

impl<R: ChangeRows> ChangeRevisions for R {
    async fn log_change(
        &self,
        server: &ServerId,
        ledger: &mut Ledger,
        peer: Option<&PeerId>,
    ) -> Result<(), StoreError> {
        ledger.revision += 1;
        let value = peer.map_or(&[] as &[u8], |peer| peer.as_bytes().as_slice());
        self.put(schema::CHANGES, &key::numbered(server, ledger.revision), value)?;
        while ledger.revision - ledger.floor > KEPT {
            ledger.floor += 1;
            self.erase(schema::CHANGES, &key::numbered(server, ledger.floor))?;
        }
        self.put_ledger(server, ledger).await
    }
}
