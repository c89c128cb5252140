//! The invariants between the tables.
//!
//! Owns the comparison of every index with the rows that it indexes. It must not know how the rows were written.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use crate::model::pool::Run;
use wgctl::address::host;
use wgctl::api::{AuditLine, AuditRecord};
use wgctl::audit::{Expected, Verifier};

use crate::model::records::{PeerRecord, ServerRecord};
use crate::store::redb::row_key;
use crate::store::redb::rows::ReadTx;
use crate::store::redb::rows::{Order, Rows as _, Span};
use crate::store::redb::schema;
use crate::store::table::Table;
use crate::store::transaction::*;
use crate::store::{Store, StoreError};

fn count(tx: &ReadTx, table: Table) -> usize {
    let mut rows = 0;
    tx.visit(table, Span::under(&[]), Order::Up, |_, _| {
        rows += 1;
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    rows
}

/// Asserts that all tables are consistent with each other.
pub(super) fn verify(store: &Store, when: &str) {
    let verified = store.read_rows(|tx| {
        let servers = tx.servers()?;
        let mut peers = 0;
        for server in &servers {
            peers += verify_server(tx, server, when)?;
        }
        let same = |table, rows| assert_eq!(count(tx, table), rows, "{when}: {}", table.name());
        same(Table::Ledgers, servers.len());
        same(Table::AgentTokens, servers.len());
        for table in [Table::Peers, Table::PeerPlaces, Table::PeerNames, Table::PeerKeys] {
            same(table, peers);
        }
        same(Table::UserEmails, count(tx, Table::Users));
        same(Table::AnswerTimes, count(tx, Table::Answers));
        let records = verify_log(tx, when)?;
        same(Table::Audit, records.len());
        same(Table::AuditActors, records.len());
        same(Table::AuditActions, records.len());
        let parts = |target: &str| 1 + target.matches('/').count().min(2);
        same(
            Table::AuditTargets,
            records.iter().map(|record| parts(&record.target)).sum(),
        );
        Ok::<_, StoreError>(())
    });
    verified.unwrap_or_else(|error| panic!("{when}: {error}"));
}

/// Asserts that the audit log's chain is intact from its beginning to its head. Returns the records.
pub(super) fn verify_log(tx: &ReadTx, when: &str) -> Result<Vec<AuditRecord>, StoreError> {
    let beginning = tx.audit_extent()?;
    let mut verifier = Verifier::new(Expected::default());
    if let Some(stub) = &beginning.pruned {
        verifier.pruned(stub);
    }
    let mut records = Vec::new();
    for line in tx.audit_lines(0, u64::MAX, usize::MAX)?.0 {
        verifier.line(&line);
        if let AuditLine::Record(record) = line {
            records.push(record);
        }
    }
    verifier.ends_at(beginning.head);
    let outcome = verifier.finish();
    assert!(outcome.ok, "{when}: {:?}", outcome.fault);
    assert_eq!(outcome.records, records.len() as u64, "{when}");
    Ok(records)
}

fn verify_server(tx: &ReadTx, server: &ServerRecord, when: &str) -> Result<usize, StoreError> {
    let id = &server.id;
    assert_eq!(tx.server_by_token(&server.token_hash)?.as_ref(), Some(id), "{when}");
    let ledger = tx.ledger(id)?.expect("a ledger");
    let mut peers: Vec<PeerRecord> = Vec::new();
    tx.each_peer(id, 0, &mut |peer| {
        peers.push(peer);
        Ok(ControlFlow::Continue(()))
    })?;
    assert_eq!(ledger.peers, peers.len() as u64, "{when}: {id}'s peers");
    let mut spans = BTreeSet::new();
    for pool in &server.address_pool {
        let own = crate::model::pool::Pool::new(*pool).server_address();
        spans.insert((host(own), crate::model::records::SERVER_ITSELF));
    }
    for peer in &peers {
        assert!(
            peer.place <= ledger.last_place && peer.revision <= ledger.revision,
            "{when}: {peer:?}"
        );
        assert_eq!(tx.peer(id, &peer.id)?.as_ref(), Some(peer), "{when}");
        assert_eq!(tx.peer_named(id, &peer.name)?, Some(peer.id), "{when}");
        assert_eq!(tx.peer_with_key(id, &peer.public_key)?, Some(peer.id), "{when}");
        for address in &peer.addresses {
            assert!(spans.insert((host(*address), peer.id)), "{when}: {address} twice");
        }
    }
    for (net, owner) in &spans {
        assert_eq!(tx.owner_within(id, net, None)?, Some(*owner), "{when}: {net}");
    }
    let rows = |table| tx.some(table, row_key::all(id), Order::Up, usize::MAX);
    assert_eq!(rows(Table::Spans)?.len(), spans.len(), "{when}: {id}'s spans");
    verify_free(tx, server, spans.len(), when)?;
    let changes: Vec<u64> = rows(Table::Changes)?
        .iter()
        .map(|(key, _)| u64::from_be_bytes(row_key::tail(key)))
        .collect();
    let expected: Vec<u64> = (ledger.floor + 1..=ledger.revision).collect();
    assert_eq!(changes, expected, "{when}: {id}'s changes");
    Ok(peers.len())
}

/// Asserts that the used and the free addresses together make up all addresses in the pools.
fn verify_free(tx: &ReadTx, server: &ServerRecord, used: usize, when: &str) -> Result<(), StoreError> {
    let mut free = 0;
    for (key, last) in tx.some(Table::FreeRuns, row_key::all(&server.id), Order::Up, usize::MAX)? {
        let last = u128::from_be_bytes(schema::fixed(&last)?);
        free += last - u128::from_be_bytes(row_key::tail(&key)) + 1;
    }
    let mut all = 0;
    for pool in &server.address_pool {
        let Run { first, last } = crate::model::pool::Pool::new(*pool).assignable().expect("room");
        all += last - first + 1;
    }
    // The server's own addresses are recorded as spans, but were never free.
    let own = server.address_pool.len() as u128;
    assert_eq!(free + used as u128 - own, all, "{when}: {}'s free addresses", server.id);
    Ok(())
}
