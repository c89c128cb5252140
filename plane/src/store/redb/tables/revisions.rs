//! The changes to a server's desired state, by revision, so that agents can fetch only the differences.

use crate::store::transaction::{Changes, ReadChanges, WriteRevisions};
use std::ops::ControlFlow;

use uuid::Uuid;
use wgctl::{PeerId, ServerId};

use crate::store::error::StoreError;
use crate::store::redb::row_key;
use crate::store::redb::rows::{Order, Rows, WriteRows};
use crate::store::table::Table;

/// The id that stands for the interface in place of a peer. No peer has this id.
const INTERFACE: [u8; 16] = [0; 16];

/// Adds the change in one row of the table to `changes`.
fn add(changes: &mut Changes, row: &[u8]) -> Result<(), StoreError> {
    let broken = || StoreError::Corrupt(format!("changes: a row of {} bytes", row.len()));
    let (subject, request) = row.split_first_chunk::<16>().ok_or_else(broken)?;
    match *subject {
        INTERFACE => changes.interface = true,
        peer => drop(changes.peers.insert(PeerId::from_bytes(peer))),
    }
    if !request.is_empty() {
        let request = Uuid::from_bytes(request.try_into().map_err(|_| broken())?);
        // One request may change many peers, each with a revision of its own.
        if changes.requests.last() != Some(&request) {
            changes.requests.push(request);
        }
    }
    Ok(())
}

impl<R: Rows> ReadChanges for R {
    fn changes_after(&self, server: &ServerId, revision: u64) -> Result<Changes, StoreError> {
        let mut changes = Changes::default();
        let span = row_key::all(server).after(row_key::numbered(server, revision));
        self.visit(Table::Changes, span, Order::Up, |_, value| {
            add(&mut changes, value)?;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(changes)
    }
}

impl<R: WriteRows> WriteRevisions for R {
    fn put_change(&self, server: &ServerId, revision: u64, peer: Option<&PeerId>) -> Result<(), StoreError> {
        let mut row = peer.map_or(&INTERFACE, PeerId::as_bytes).to_vec();
        row.extend(self.request().iter().flat_map(Uuid::as_bytes));
        self.put(Table::Changes, &row_key::numbered(server, revision), &row)
    }

    fn erase_change(&self, server: &ServerId, revision: u64) -> Result<(), StoreError> {
        self.erase(Table::Changes, &row_key::numbered(server, revision))
    }
}
