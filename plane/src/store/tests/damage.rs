//! Tests of a database that was damaged while closed: either it is refused, or its content is unchanged.
//!
//! Owns the damage and the row-by-row comparison of the whole database.

use crate::fleet::servers::revisions;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use wgctl::PeerId;

use super::disk::{Dice, Disk};
use super::workload::{self, PATH};
use super::{CACHE, add, at, caller, rounds, say, user};
use crate::model::caller::{Action, Entry};
use crate::model::records::Ledger;
use crate::store::DurableWrite;
use crate::store::redb::rows::{Order, Rows as _, Span};
use crate::store::table::Table;
use crate::store::{Change, Store, StoreError};

type Content = BTreeMap<String, Vec<(Vec<u8>, Vec<u8>)>>;

/// Reads every row of every table.
fn content(store: &Store) -> Result<Content, StoreError> {
    store.read_rows(|tx| {
        let mut all = Content::new();
        for table in Table::ALL {
            let rows = all.entry(table.name().to_owned()).or_default();
            tx.visit(*table, Span::under(&[]), Order::Up, |key, value| {
                rows.push((key.to_vec(), value.to_vec()));
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(all)
    })
}

/// Returns the bytes of a closed database with thousands of rows, and its content.
async fn filled() -> (Vec<u8>, Content) {
    let (disk, _) = workload::furnished().await;
    let fleet = workload::open(&disk).unwrap();
    let store = fleet.store();
    for n in 0..500 {
        add(store, user(n)).await.unwrap();
    }
    let server: wgctl::ServerId = "oslo".parse().unwrap();
    let me = caller();
    let changed = store.change(&me, at(1), move |tx: &dyn DurableWrite| {
        let mut ledger: Ledger = tx.ledger(&server)?.expect("a ledger");
        for n in 0..4000u128 {
            revisions::advance(tx, &server, &mut ledger, Some(&PeerId::from_bytes(n.to_be_bytes())))?;
        }
        Ok::<_, StoreError>(Change::new((), Entry::new(Action::ServerUpdated, &server)))
    });
    changed.await.unwrap();
    let before = content(store).unwrap();
    drop(fleet);
    (disk.bytes(PATH.as_ref()).unwrap(), before)
}

/// The number of runs, by outcome.
#[derive(Default)]
struct Tally {
    runs: u64,
    refused: u64,
    harmless: u64,
}

impl Tally {
    /// Opens a damaged file, and asserts that either it is refused with a helpful error or its content is unchanged.
    fn open(&mut self, bytes: Vec<u8>, before: &Content, what: &str) {
        self.runs += 1;
        let disk = Disk::default();
        disk.put(PATH.as_ref(), bytes);
        match workload::open(&disk) {
            Err(error) => {
                let text = error.to_string();
                assert!(matches!(error, StoreError::Damaged { .. }), "{what}: {text}");
                assert!(
                    text.contains(PATH) && text.contains("restore a backup"),
                    "{what}: {text}"
                );
                assert!(!text.contains("cannot be read"), "{what}: the database panicked");
                assert_eq!(text.lines().count(), 1, "{what}: {text}");
                self.refused += 1;
            }
            Ok(fleet) => {
                let found = content(fleet.store()).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert!(found == *before, "{what}: the content differs from what was written");
                self.harmless += 1;
            }
        }
    }

    fn say(&self, name: &str) {
        let figure = format!(
            "{} refused at the start, {} harmless, 0 silently wrong, 0 panics",
            self.refused, self.harmless
        );
        say(name, self.runs, &figure);
    }
}

#[tokio::test]
async fn a_flipped_bit_is_detected_at_startup_or_has_no_effect() {
    let (bytes, before) = filled().await;
    let mut tally = Tally::default();
    let mut dice = Dice(1);
    // Most of a new file is unused, so half of the flips are made in the bytes that are in use.
    let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    for n in 0..rounds(50) {
        let byte = match n % 2 {
            0 => dice.throw(bytes.len() as u64) as usize,
            _ => used[dice.throw(used.len() as u64) as usize],
        };
        let bit = dice.throw(8);
        let mut damaged = bytes.clone();
        damaged[byte] ^= 1 << bit;
        tally.open(damaged, &before, &format!("bit {bit} of byte {byte}"));
    }
    assert!(tally.refused > tally.runs / 4, "{}", tally.refused);
    tally.say("one bit flipped in the database");
}

#[tokio::test]
async fn every_bit_of_the_database_header_is_verified() {
    let (bytes, before) = filled().await;
    let mut tally = Tally::default();
    let step = if super::full() { 1 } else { 13 };
    for bit in (0..320 * 8).step_by(step) {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        tally.open(damaged, &before, &format!("bit {bit} of the header"));
    }
    tally.say("one bit flipped in the database's header");
}

#[tokio::test]
async fn a_truncated_database_is_refused() {
    let (bytes, before) = filled().await;
    let mut tally = Tally::default();
    let mut dice = Dice(2);
    for n in 0..rounds(10) {
        let length = match n {
            0 => 0,
            1 => 100,
            2 => 4096,
            _ => dice.throw(bytes.len() as u64) as usize,
        };
        tally.open(
            bytes[..length].to_vec(),
            &before,
            &format!("{length} of {} bytes", bytes.len()),
        );
    }
    tally.say("the database file truncated");
}

#[tokio::test]
async fn an_empty_file_is_not_mistaken_for_a_new_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plane.redb");
    drop(Store::open(&path, CACHE).unwrap());
    std::fs::write(&path, "").unwrap();
    let error = Store::open(&path, CACHE).err().unwrap();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    std::fs::write(&path, "something else entirely, and longer than a header").unwrap();
    let error = Store::open(&path, CACHE).err().unwrap();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

/// Reports the time that the verification at startup takes.
#[tokio::test]
async fn the_time_to_verify_every_page_at_startup_is_reported() {
    let (bytes, _) = filled().await;
    let folder = tempfile::tempdir().unwrap();
    let path: &Path = &folder.path().join("plane.redb");
    std::fs::write(path, &bytes).unwrap();
    let began = Instant::now();
    let store = Store::open(path, CACHE).unwrap();
    let took = began.elapsed();
    assert_eq!(content(&store).unwrap()["users"].len(), 501);
    say(
        "startup, with every page verified",
        1,
        &format!("{} ms for {} KiB", took.as_millis(), bytes.len() / 1024),
    );
}
