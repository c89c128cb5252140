//! What changed at which revision of a server's desired state, so that agents fetch differences.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use uuid::Uuid;
use wgctl::{PeerId, ServerId};

use super::servers::ChangeServers;
use crate::model::records::Ledger;
use crate::store::error::StoreError;
use crate::store::redb::row_key;
use crate::store::redb::rows::{ChangeRows, Order, Rows};
use crate::store::redb::schema;

/// How many changes a server's log keeps; an agent that is further behind gets a snapshot.
const KEPT: u64 = 10_000;

/// The interface, where a peer's id would be: no peer has it.
const INTERFACE: [u8; 16] = [0; 16];

/// What changed between two revisions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) interface: bool,
    pub(crate) peers: BTreeSet<PeerId>,
    /// The requests that changed it, as far as they are known; in the order of the revisions.
    pub(crate) requests: Vec<Uuid>,
}

impl Changes {
    fn add(&mut self, row: &[u8]) -> Result<(), StoreError> {
        let broken = || StoreError::Corrupt(format!("changes: a row of {} bytes", row.len()));
        let (subject, request) = row.split_first_chunk::<16>().ok_or_else(broken)?;
        match *subject {
            INTERFACE => self.interface = true,
            peer => drop(self.peers.insert(PeerId::from_bytes(peer))),
        }
        if !request.is_empty() {
            let request = Uuid::from_bytes(request.try_into().map_err(|_| broken())?);
            // One request may change many peers, each a revision.
            if self.requests.last() != Some(&request) {
                self.requests.push(request);
            }
        }
        Ok(())
    }
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
        let span = row_key::all(server).after(row_key::numbered(server, revision));
        self.visit(schema::CHANGES, span, Order::Up, |_, value| {
            changes.add(value)?;
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
        let mut row = peer.map_or(&INTERFACE, PeerId::as_bytes).to_vec();
        row.extend(self.request().iter().flat_map(Uuid::as_bytes));
        self.put(schema::CHANGES, &row_key::numbered(server, ledger.revision), &row)?;
        while ledger.revision - ledger.floor > KEPT {
            ledger.floor += 1;
            self.erase(schema::CHANGES, &row_key::numbered(server, ledger.floor))?;
        }
        self.put_ledger(server, ledger).await
    }
}
