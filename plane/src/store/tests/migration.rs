//! Tests of migrations that are interrupted at every operation.
//!
//! Owns a test schema that is two steps newer than the release's, so that the tests cover the code that runs the steps.

use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase as _, ReadableTable as _, WriteTransaction};
use wgctl::name::Incarnation;

use super::disk::{Disk, Fault};
use super::workload::{self, PATH};
use super::{CACHE, moments, say};
use crate::store::StoreError;
use crate::store::redb::definition::Definition;
use crate::store::redb::disk::{self, Medium};
use crate::store::redb::migration;
use crate::store::redb::rows::storage;
use crate::store::redb::schema::{CURRENT, Schema, Step};
use crate::store::table::Table;

const NOTES: Definition = Definition::new("notes");

/// A schema whose steps write a note for every user and then double every note. The notes therefore show whether a step
/// ran twice.
const NEWER: Schema = Schema {
    version: CURRENT.version + 2,
    tables: CURRENT.tables,
    steps: &[
        Step {
            to: CURRENT.version + 1,
            run: note_users,
        },
        Step {
            to: CURRENT.version + 2,
            run: double_notes,
        },
    ],
};

fn note_users(tx: &WriteTransaction) -> Result<(), StoreError> {
    let users = tx.open_table(Table::Users.definition()).map_err(storage)?;
    let mut notes = tx.open_table(NOTES).map_err(storage)?;
    for row in users.range::<&[u8]>(..).map_err(storage)? {
        let (id, _) = row.map_err(storage)?;
        notes.insert(id.value(), b"note".as_slice()).map_err(storage)?;
    }
    Ok(())
}

fn double_notes(tx: &WriteTransaction) -> Result<(), StoreError> {
    let mut notes = tx.open_table(NOTES).map_err(storage)?;
    let mut longer = Vec::new();
    for row in notes.range::<&[u8]>(..).map_err(storage)? {
        let (id, note) = row.map_err(storage)?;
        longer.push((id.value().to_vec(), [note.value(), note.value()].concat()));
    }
    for (id, note) in longer {
        notes.insert(id.as_slice(), note.as_slice()).map_err(storage)?;
    }
    Ok(())
}

fn open(medium: &dyn Medium, path: &Path, schema: &Schema) -> Result<(Database, Incarnation), StoreError> {
    let database = migration::open(medium, path, CACHE, schema)?;
    let incarnation = migration::migrate(medium, &database, path, schema)?;
    Ok((database, incarnation))
}

fn start(medium: &dyn Medium, schema: &Schema) -> Result<(), StoreError> {
    open(medium, PATH.as_ref(), schema).map(drop)
}

fn copy_of(version: u64) -> PathBuf {
    PathBuf::from(format!("{PATH}.schema-{version}"))
}

/// Returns a closed database that has the release's schema and some content.
async fn older() -> (Disk, workload::Log) {
    let (disk, log) = workload::furnished().await;
    let fleet = workload::open(&disk).unwrap();
    for n in 0..100 {
        super::add(fleet.store(), super::user(n)).await.unwrap();
    }
    drop(fleet);
    (disk, log)
}

/// Returns the number of prekeys in a database.
fn prekeys(database: &Database) -> usize {
    let tx = database.begin_read().unwrap();
    let stock = tx.open_table(Table::Prekeys.definition()).unwrap();
    stock.range::<&[u8]>(..).unwrap().count()
}

fn notes(disk: &Disk) -> Vec<Vec<u8>> {
    let database = disk::open(disk, PATH.as_ref(), CACHE).unwrap();
    let tx = database.begin_read().unwrap();
    let notes = tx.open_table(NOTES).unwrap();
    notes
        .range::<&[u8]>(..)
        .unwrap()
        .map(|row| row.unwrap().1.value().to_vec())
        .collect()
}

/// Asserts that the copy has the same rows as the database had before the migration, except for the incarnation.
fn assert_copied(disk: &Disk, before: &Disk, when: &str) {
    let all = |disk: &Disk, path: &Path| {
        let database = disk::open(disk, path, CACHE).unwrap_or_else(|error| panic!("{when}: {error}"));
        let tx = database.begin_read().unwrap();
        let rows = |table: &Table| {
            let rows = tx.open_table(table.definition()).unwrap();
            let rows = rows.range::<&[u8]>(..).unwrap().map(|row| {
                let (key, value) = row.unwrap();
                (key.value().to_vec(), value.value().to_vec())
            });
            rows.filter(|(key, _)| *table != Table::Meta || key.as_slice() != b"incarnation")
                .collect::<Vec<_>>()
        };
        CURRENT.tables.iter().map(rows).collect::<Vec<_>>()
    };
    let before = before.after_power_cut(0);
    assert!(
        all(disk, &copy_of(CURRENT.version)) == all(&before, PATH.as_ref()),
        "{when}"
    );
}

#[tokio::test]
async fn a_migration_interrupted_at_any_operation_is_completed_by_the_next_start() {
    let (image, _) = older().await;
    let disk = image.after_power_cut(0);
    disk.breaks(Fault::Cut { at: u64::MAX });
    start(&disk, &NEWER).unwrap();
    let total = disk.mend();
    let mut runs = 0;
    for at in moments(total) {
        let when = format!("cut at {at}");
        let disk = image.after_power_cut(0);
        disk.breaks(Fault::Cut { at });
        let _ = start(&disk, &NEWER);
        let left = disk.after_power_cut(at);
        if left.names().contains(&copy_of(CURRENT.version)) {
            assert_copied(&left, &image, &when);
        }
        start(&left, &NEWER).unwrap_or_else(|error| panic!("{when}: {error}"));
        assert_eq!(notes(&left), vec![b"notenote".to_vec(); 101], "{when}");
        assert_copied(&left, &image, &when);
        runs += 1;
    }
    say(
        "power cut during a migration of two steps",
        runs,
        &format!("{runs} of {total} operations; finished by the next start, with a complete copy"),
    );
}

#[tokio::test]
async fn a_migration_that_fails_at_any_operation_loses_nothing_and_succeeds_on_retry() {
    let (image, log) = older().await;
    let disk = image.after_power_cut(0);
    disk.breaks(Fault::Once { at: u64::MAX });
    start(&disk, &NEWER).unwrap();
    let total = disk.mend();
    let mut runs = 0;
    for at in moments(total) {
        let disk = image.after_power_cut(0);
        disk.breaks(Fault::Once { at });
        // An error after the last commit does not make the migration fail.
        if let Err(error) = start(&disk, &NEWER) {
            assert!(
                !error.to_string().contains("make room"),
                "the disk is not full: {error}"
            );
        }
        disk.mend();
        start(&disk, &NEWER).unwrap_or_else(|error| panic!("error at {at}: {error}"));
        assert_eq!(notes(&disk).len(), 101, "error at {at}");
        runs += 1;
    }
    drop(log);
    say(
        "one I/O error during a migration",
        runs,
        &format!("{runs} of {total} operations"),
    );
}

#[tokio::test]
async fn a_migration_without_room_for_the_copy_is_refused_and_changes_nothing() {
    let (image, _) = older().await;
    let before = image.bytes(PATH.as_ref()).unwrap().len() as u64;
    for room in [0, 100_000, before / 2] {
        let disk = image.after_power_cut(0);
        disk.limit_to(room);
        let error = start(&disk, &NEWER).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, StoreError::Migration { .. }), "{text}");
        assert!(
            text.contains("make room") && text.contains(&format!("schema-{}", CURRENT.version)),
            "{text}"
        );
        disk.mend();
        assert_eq!(disk.names(), [PathBuf::from(PATH)], "a file was left behind");
        start(&disk, &CURRENT).unwrap();
        start(&disk, &NEWER).unwrap();
    }
}

#[tokio::test]
async fn a_database_with_a_newer_schema_is_refused_with_the_way_back_and_left_unchanged() {
    let (image, _) = older().await;
    start(&image, &NEWER).unwrap();
    let error = start(&image, &CURRENT).unwrap_err();
    assert!(
        matches!(error, StoreError::TooNew { found, known, .. } if (found, known) == (NEWER.version, CURRENT.version)),
        "{error}"
    );
    let copy = copy_of(CURRENT.version);
    for words in [
        "install the release that wrote it",
        copy.to_str().unwrap(),
        "all changes made since the upgrade are lost",
    ] {
        assert!(error.to_string().contains(words), "{error}");
    }
    image.remove(&copy).unwrap();
    let error = start(&image, &CURRENT).unwrap_err();
    assert!(error.to_string().contains("restore a backup"), "{error}");
    start(&image, &NEWER).unwrap();
    assert_eq!(notes(&image), vec![b"notenote".to_vec(); 101]);
}

#[tokio::test]
async fn a_database_is_refused_if_no_step_migrates_its_schema() {
    let orphan = Schema {
        version: 9,
        tables: CURRENT.tables,
        steps: &[],
    };
    let (image, _) = older().await;
    let error = start(&image, &orphan).unwrap_err();
    assert!(error.to_string().contains("restore a backup"), "{error}");
    start(&image, &CURRENT).unwrap();
}

#[tokio::test]
async fn the_copy_made_before_a_migration_is_accessible_only_to_its_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plane.redb");
    drop(open(&disk::Files, &path, &CURRENT).unwrap());
    drop(open(&disk::Files, &path, &NEWER).unwrap());
    let copy = folder.path().join(format!("plane.redb.schema-{}", CURRENT.version));
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    // Both can be opened.
    drop(open(&disk::Files, &path, &NEWER).unwrap());
    drop(open(&disk::Files, &copy, &CURRENT).unwrap());
    let names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

/// An agent that has been connected to the migrated database must get a snapshot from its copy, and a prekey that a peer
/// of the migrated database has taken must not be in the copy.
#[tokio::test]
async fn the_copy_made_before_a_migration_has_a_new_incarnation_and_no_prekeys() {
    let (image, _) = older().await;
    let (path, copy) = (Path::new(PATH), copy_of(CURRENT.version));
    let (database, before) = open(&image, path, &CURRENT).unwrap();
    let tx = database.begin_write().unwrap();
    tx.open_table(Table::Prekeys.definition())
        .unwrap()
        .insert(b"oslo".as_slice(), b"{}".as_slice())
        .unwrap();
    tx.commit().unwrap();
    drop(database);

    let (database, migrated) = open(&image, path, &NEWER).unwrap();
    assert_eq!((migrated, prekeys(&database)), (before, 1));
    drop(database);

    // Back to the copy.
    image.rename(&copy, path).unwrap();
    let (database, back) = open(&image, path, &CURRENT).unwrap();
    assert_ne!(back, before);
    assert_eq!(prekeys(&database), 0);
    drop(database);

    // Forward again.
    assert_eq!(open(&image, path, &NEWER).unwrap().1, back);
    let (_, again) = open(&image, &copy, &CURRENT).unwrap();
    assert!(again != back && again != before);
}
