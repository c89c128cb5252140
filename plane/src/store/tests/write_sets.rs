//! Tests of write sets: each one lists everything that its commit wrote.
//!
//! Owns the replay: a second database to which only the write sets are applied has the same bytes as the first.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::disk::Disk;
use super::workload::{self, BEFORE, Failure, Log, SCRIPT, Step};
use super::{CACHE, caller, user};
use crate::fleet::Fleet;
use crate::store::redb::rows::{Order, Rows as _, Span, WriteRows as _};
use crate::store::table::Table;
use crate::store::write_set::{RowWrite, WriteSet};
use crate::store::{Store, StoreError};

type Rows = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

fn rows(store: &Store) -> Rows {
    let mut all = Rows::new();
    let read = store.read_rows(|tx| {
        for table in Table::ALL {
            tx.visit(*table, Span::under(&[]), Order::Up, |key, value| {
                all.insert((*table, key.to_vec()), value.to_vec());
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok::<_, StoreError>(())
    });
    read.unwrap();
    all
}

/// Collects the write sets of all later commits to a store.
fn following(store: &Store) -> Arc<Mutex<Vec<WriteSet>>> {
    let seen = Arc::<Mutex<Vec<WriteSet>>>::default();
    let follower = Arc::clone(&seen);
    store.engine.list_rows();
    store.follow(move |writes| follower.lock().unwrap().push(writes.clone()));
    seen
}

/// Replays write sets onto another database. A replacement copies all rows of `source`.
async fn replay(onto: &Store, writes: Vec<WriteSet>, source: &Rows) {
    for writes in writes {
        let source = writes.is_replacement().then(|| source.clone());
        let replayed = onto.record_rows(move |tx| {
            if let Some(source) = source {
                tx.replace_everything()?;
                for ((table, key), value) in &source {
                    tx.put(*table, key, value)?;
                }
            }
            for (table, key, write) in writes.rows() {
                match write {
                    RowWrite::Put(value) => tx.put(table, key, value)?,
                    RowWrite::Erased => tx.erase(table, key)?,
                }
            }
            Ok(())
        });
        replayed.await.unwrap();
    }
}

/// Creates an empty database with the same incarnation as `of`.
async fn empty_like(of: &Store) -> Store {
    let disk: Arc<dyn crate::store::redb::disk::Medium> = Arc::new(Disk::default());
    let store = Store::open_on(disk, workload::PATH.as_ref(), CACHE).unwrap();
    let rows = rows(of);
    let copied = store.record_rows(move |tx| {
        for ((table, key), value) in rows.iter().filter(|((table, _), _)| *table == Table::Meta) {
            tx.put(*table, key, value)?;
        }
        Ok(())
    });
    copied.await.unwrap();
    store
}

async fn play(fleet: &Fleet, script: &[&[Step]]) {
    workload::run(fleet, script, &mut Log::default(), Failure::Stop).await;
}

/// Returns the workload's steps, except the ones that create and remove a server.
fn steps_between() -> Vec<&'static [Step]> {
    let of_rome = |step: &Step| matches!(step, Step::Server(_) | Step::Remove(_));
    SCRIPT
        .iter()
        .copied()
        .filter(|steps| !steps.iter().any(of_rome))
        .collect()
}

fn taken(seen: &Mutex<Vec<WriteSet>>) -> Vec<WriteSet> {
    std::mem::take(&mut *seen.lock().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Runs the workload's steps in random order, after a server's creation and before its removal.
    #[test]
    fn replaying_write_sets_onto_an_empty_database_reproduces_the_same_bytes(
        order in Just(steps_between()).prop_shuffle(),
        restore in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fleet = workload::open(&Disk::default()).unwrap();
            let store = fleet.store().clone();
            let replica = empty_like(&store).await;
            let seen = following(&store);
            play(&fleet, BEFORE).await;
            play(&fleet, &[&[Step::Server("rome")]]).await;
            for steps in order {
                play(&fleet, &[steps]).await;
            }
            play(&fleet, &[&[Step::Remove("rome")]]).await;
            if restore {
                let mut copy = fleet.receive().unwrap();
                copy.file = fleet.back_up(&caller()).await.unwrap().file;
                super::add(&store, user(7)).await.unwrap();
                replay(&replica, taken(&seen), &Rows::new()).await;
                fleet.restore(&caller(), copy).await.unwrap();
                // After a replacement, a follower reads everything again, and so it also sees later commits.
                replay(&replica, taken(&seen), &rows(&store)).await;
                super::add(&store, user(8)).await.unwrap();
            }
            replay(&replica, taken(&seen), &Rows::new()).await;
            let (expected, found) = (rows(&store), rows(&replica));
            assert!(expected.len() > 100, "only {} rows", expected.len());
            assert!(expected == found, "the replica differs");
        });
    }
}

#[tokio::test]
async fn refused_and_undone_changes_appear_in_no_write_set() {
    let fleet = workload::open(&Disk::default()).unwrap();
    play(&fleet, BEFORE).await;
    let store = fleet.store().clone();
    let seen = following(&store);
    let broken = store
        .record(|tx| {
            tx.erase_hours_before(u64::MAX)?;
            Err::<(), _>(StoreError::Broken("a test"))
        })
        .await;
    broken.unwrap_err();
    let (me, server, unknown) = (caller(), "oslo".parse().unwrap(), wgctl::PeerId::from_bytes([9; 16]));
    let refused = fleet.enable_peer(&me, &server, &unknown, true).await;
    refused.unwrap_err();
    let rows: usize = seen.lock().unwrap().iter().map(|writes| writes.rows().count()).sum();
    assert_eq!(rows, 0);
}
