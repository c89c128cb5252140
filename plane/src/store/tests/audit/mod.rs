//! Tests of the audit log: its chain, pruning and checkpoints. The query tests are in `queries`.

mod queries;

use std::collections::BTreeMap;

use wgctl::api::{AuditRecord, Checkpoint, Fault, Pruned, Verification};
use wgctl::audit::{Expected, Signer, Verifier, follow};

use super::*;
use crate::model::caller::{Action, Actor, Entry};
use crate::store::redb::rows::{Order, Rows as _, Span, WriteRows as _};
use crate::store::table::Table;

fn signer() -> Signer {
    Signer::from_seed(&[7; 32]).unwrap()
}

fn signed(folder: &tempfile::TempDir) -> Store {
    let store = Store::open(&folder.path().join("plane.redb"), 64 << 20).unwrap();
    store.signed_by(signer())
}

fn actor(name: &str) -> Caller {
    Caller {
        actor: Actor::Local(name.to_owned()),
        ..caller()
    }
}

/// Appends records in one commit.
async fn write(store: &Store, who: &str, now: Timestamp, entries: Vec<Entry>) {
    store
        .change(&actor(who), now, move |_: &dyn DurableWrite| {
            Ok::<_, StoreError>(Change::all((), entries))
        })
        .await
        .unwrap();
}

fn verified(store: &Store, expected: Expected) -> Verification {
    let read = store.read(|tx| {
        let extent = tx.audit_extent()?;
        let mut verifier = Verifier::new(expected);
        if let Some(stub) = &extent.pruned {
            verifier.pruned(stub);
        }
        for line in tx.audit_lines(extent.first(), u64::MAX, usize::MAX)?.0 {
            verifier.line(&line);
        }
        verifier.ends_at(extent.head);
        Ok::<_, StoreError>(verifier.finish())
    });
    read.unwrap()
}

fn ours() -> Expected {
    Expected {
        keys: vec![signer().public_key()],
        checkpoints: true,
        head: None,
    }
}

fn ids(store: &Store, filter: &AuditFilter, offset: usize, limit: usize) -> Vec<u64> {
    let found = store.read(|tx| tx.audit_newest(filter, offset, limit)).unwrap();
    found.iter().map(|record| record.id).collect()
}

async fn all(store: &Store) -> Vec<AuditRecord> {
    let lines = store.read(|tx| tx.audit_lines(0, u64::MAX, usize::MAX)).unwrap();
    let records = lines.0.into_iter().filter_map(|line| match line {
        wgctl::api::AuditLine::Record(record) => Some(record),
        _ => None,
    });
    records.collect()
}

/// Changes rows without applying the store's rules, as anyone with write access to the file could.
async fn tamper(store: &Store, rows: BTreeMap<u64, Option<AuditRecord>>) {
    store
        .record_rows(move |tx| {
            for (id, record) in rows {
                match record {
                    Some(record) => tx.put_json(Table::Audit, &id.to_be_bytes(), &record)?,
                    None => tx.erase(Table::Audit, &id.to_be_bytes())?,
                }
            }
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn the_first_row_that_was_tampered_with_in_the_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = signed(&folder);
    let entries = (0..1000).map(|n| Entry::new(Action::PeerUpdated, format!("la/c{n}")));
    write(&store, "root", at(1), entries.collect()).await;
    let all = all(&store).await;
    let first = |outcome: Verification| outcome.fault.map(|Fault { id, .. }| id);
    assert_eq!(first(verified(&store, ours())), None);
    for id in (1..=1000u64).step_by(111) {
        let record = all[id as usize - 1].clone();
        let changed = AuditRecord {
            ip: "192.0.2.1".to_owned(),
            ..record.clone()
        };
        let neighbour = all.get(id as usize).cloned();
        let mut cases = vec![BTreeMap::from([(id, Some(changed))]), BTreeMap::from([(id, None)])];
        if let Some(neighbour) = neighbour {
            let moved = AuditRecord { id, ..neighbour };
            let back = AuditRecord {
                id: id + 1,
                ..record.clone()
            };
            cases.push(BTreeMap::from([(id, Some(moved)), (id + 1, Some(back))]));
        }
        for rows in cases {
            let restore: BTreeMap<_, _> = rows
                .keys()
                .map(|id| (*id, all.get(*id as usize - 1).cloned()))
                .collect();
            tamper(&store, rows).await;
            assert_eq!(first(verified(&store, ours())), Some(id));
            tamper(&store, restore).await;
        }
    }
    // The newest record is removed, but the head still refers to it.
    tamper(&store, BTreeMap::from([(1000, None)])).await;
    assert_eq!(first(verified(&store, ours())), Some(1000));
    // All hashes are recomputed, so only the signature reveals the forgery.
    let mut previous = Default::default();
    let forged = all.iter().map(|record| {
        let mut record = AuditRecord {
            actor: "local:nobody".to_owned(),
            ..record.clone()
        };
        record.hash = follow(&previous, &record);
        previous = record.hash;
        (record.id, Some(record))
    });
    tamper(&store, forged.collect()).await;
    let outcome = verified(&store, ours());
    assert_eq!(outcome.fault.as_ref().map(|fault| fault.id), Some(1));
    assert!(outcome.fault.unwrap().reason.contains("checkpoint"));
}

#[tokio::test]
async fn pruning_leaves_a_signed_statement_and_a_chain_that_still_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let store = signed(&folder);
    for day in 0..5 {
        let entries = (0..700).map(|n| Entry::new(Action::PeerUpdated, format!("la/c{n}")));
        write(&store, "root", at(day * 86_400), entries.collect()).await;
    }
    let prune = async |before: i64, limit: usize| {
        store
            .change(&caller(), at(500_000), move |tx: &dyn DurableWrite| {
                Ok::<_, StoreError>(match tx.prune_audit(at(before), limit, &signer(), at(500_000))? {
                    Some((stub, removed)) => Change::new(
                        Some((stub.id, stub.count, removed)),
                        Entry::new(Action::AuditPruned, "audit"),
                    ),
                    None => Change::none(None),
                })
            })
            .await
            .unwrap()
    };
    assert_eq!(prune(86_400 * 2, 1000).await, Some((1000, 1000, 1000)));
    // An altered record is neither removed nor covered by the signed statement.
    let honest = all(&store).await[0].clone();
    let other = AuditRecord {
        actor: "local:nobody".to_owned(),
        ..honest.clone()
    };
    tamper(&store, BTreeMap::from([(1001, Some(other))])).await;
    let faulty = async || {
        let caller = caller();
        let refused = store.change(&caller, at(500_000), |tx: &dyn DurableWrite| {
            tx.prune_audit(at(86_400 * 2), 1000, &signer(), at(500_000))?;
            Ok::<_, StoreError>(Change::none(()))
        });
        match refused.await {
            Err(StoreError::AuditFault(id)) => id,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(faulty().await, 1001);
    // The same applies to a record that cannot be read; the records before it are removed.
    let spoil = async |id: u64| {
        let spoilt = store.record_rows(move |tx| {
            tx.put(Table::Audit, &id.to_be_bytes(), b"no record")?;
            Ok::<_, StoreError>(())
        });
        spoilt.await.unwrap();
    };
    spoil(1001).await;
    assert_eq!(faulty().await, 1001);
    tamper(&store, BTreeMap::from([(1001, Some(honest))])).await;
    let later = all(&store).await[200].clone();
    spoil(1201).await;
    assert_eq!(prune(86_400 * 2, 1000).await, Some((1200, 1200, 200)));
    tamper(&store, BTreeMap::from([(1201, Some(later))])).await;
    assert_eq!(prune(86_400 * 2, 1000).await, Some((1400, 1400, 200)));
    assert_eq!(prune(86_400 * 2, 1000).await, None);
    let outcome = verified(&store, ours());
    assert!(outcome.ok, "{outcome:?}");
    assert_eq!(
        (outcome.first, outcome.records, outcome.head.id),
        (Some(1401), 2103, 3503)
    );
    super::rows::verify(&store, "after pruning");
    assert_eq!(ids(&store, &AuditFilter::default(), 2101, 10), [1402, 1401]);
    let old = AuditFilter {
        until: Some(at(86_400)),
        ..AuditFilter::default()
    };
    assert_eq!(ids(&store, &old, 0, 10), Vec::<u64>::new());
    // One more record is removed, or the statement about the removed records is forged.
    tamper(&store, BTreeMap::from([(1401, None)])).await;
    assert_eq!(verified(&store, ours()).fault.unwrap().id, 1401);
    let thief = Signer::from_seed(&[8; 32]).unwrap();
    store
        .record_rows(move |tx| {
            let stub: Pruned = tx.json(Table::AuditChain, b"pruned")?.unwrap();
            let head = wgctl::api::Head {
                id: stub.id,
                hash: stub.hash,
            };
            tx.put_json(Table::AuditChain, b"pruned", &thief.pruned(head, 1400, at(1)).unwrap())
        })
        .await
        .unwrap();
    assert!(verified(&store, ours()).fault.unwrap().reason.contains("not known"));
}

#[tokio::test]
async fn checkpoints_are_written_periodically_and_on_request_but_only_for_new_records() {
    let folder = tempfile::tempdir().unwrap();
    let store = signed(&folder);
    let mark = async || {
        store
            .record(|tx: &dyn LossyWrite| tx.checkpoint_audit(&signer(), at(9)))
            .await
            .unwrap()
    };
    assert!(!mark().await, "nothing to sign");
    let entries = (0..1500).map(|n| Entry::new(Action::PeerUpdated, format!("la/c{n}")));
    write(&store, "root", at(1), entries.collect()).await;
    assert_eq!([mark().await, mark().await], [true, false]);
    let marks: Vec<u64> = store
        .read_rows(|tx| {
            let rows = tx.some(Table::AuditCheckpoints, Span::under(&[]), Order::Up, usize::MAX)?;
            let marks = rows
                .iter()
                .map(|(_, value)| serde_json::from_slice::<Checkpoint>(value).unwrap().id);
            Ok::<_, StoreError>(marks.collect())
        })
        .unwrap();
    assert_eq!(marks, [1000, 1500]);
    // Without this checkpoint, the log is incomplete.
    store
        .record_rows(|tx| tx.erase(Table::AuditCheckpoints, &1000u64.to_be_bytes()))
        .await
        .unwrap();
    assert_eq!(verified(&store, ours()).fault.unwrap().id, 1000);
}

#[tokio::test]
async fn a_change_whose_audit_record_cannot_be_written_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = signed(&folder);
    add(&store, user(1)).await.unwrap();
    // The chain's head becomes unreadable, so no record can be appended.
    store
        .record_rows(|tx| tx.put(Table::AuditChain, b"head", b"garbage"))
        .await
        .unwrap();
    let refused = add(&store, user(2)).await;
    assert!(
        matches!(refused, Err(StoreError::Broken(_) | StoreError::Corrupt(_))),
        "{refused:?}"
    );
    assert_eq!(users(&store), 1);
    store
        .record_rows(|tx| tx.erase_all(Table::AuditChain, Span::under(&[])))
        .await
        .unwrap();
    store
        .change(&caller(), at(1), |_| {
            Ok::<_, StoreError>(Change::new((), Entry::new(Action::ServerUpdated, "x")))
        })
        .await
        .unwrap();
    // If the head is missing, it is computed from the newest record, so that no number is used twice.
    add(&store, user(3)).await.unwrap();
    assert_eq!((users(&store), audit_rows(&store)), (2, 3));
    super::rows::verify(&store, "after the head was lost");
}

impl Store {
    /// Replaces or removes a row in the log, as anyone with write access to the file could. If a row is removed, the
    /// head is removed with it.
    pub(crate) async fn spoil_audit(&self, id: u64, row: Option<&'static [u8]>) {
        self.record_rows(move |tx| {
            let key = id.to_be_bytes();
            match row {
                Some(row) => tx.put(Table::Audit, &key, row),
                None => {
                    tx.erase(Table::Audit, &key)?;
                    tx.erase(Table::AuditChain, b"head")
                }
            }
        })
        .await
        .unwrap();
    }
}
