//! Databases with which the plane refuses to start. The plane must print a useful message and must not change the
//! database.

use std::path::Path;
use std::process::{Command, Output};

use redb::{Database, TableDefinition};
use sentrazone_tests::process::binary;

use crate::plane::Plane;

const META: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("meta");

/// `EX_DATAERR` (sysexits.h), an exit code that means that a restart does not help.
const LASTING: Option<i32> = Some(65);

async fn once_started(folder: &Path) {
    let mut plane = Plane::new(folder, &folder.join("state"));
    plane.start().await;
    plane.stop();
}

/// Runs the plane, which must exit on its own.
fn start(folder: &Path) -> Output {
    Command::new(binary("sentrazone-plane"))
        .arg("--config")
        .arg(folder.join("plane.toml"))
        .env("SENTRAZONE_LOG", "error")
        .output()
        .unwrap()
}

/// Returns the only line of the plane's error output.
fn said(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

/// Returns the bytes with one bit flipped wherever `text` occurs, including in unused pages.
fn with_other_bits(bytes: &[u8], text: &[u8]) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    let places = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(text));
    places.for_each(|at| flipped[at] ^= 1);
    assert_ne!(flipped, bytes);
    flipped
}

#[tokio::test]
async fn a_damaged_database_is_refused_with_one_line_that_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    once_started(folder.path()).await;
    let path = folder.path().join("state/plane.redb");
    let whole = std::fs::read(&path).unwrap();
    let flipped = with_other_bits(&whole, b"incarnation");
    for damaged in [flipped, whole[..whole.len() / 2].to_vec(), Vec::new(), vec![7; 8192]] {
        std::fs::write(&path, &damaged).unwrap();
        let ended = start(folder.path());
        let text = said(&ended);
        assert_eq!(ended.status.code(), LASTING, "{text}");
        assert!(
            text.contains("plane.redb is damaged") && text.contains("restore a backup"),
            "{text}"
        );
        assert_eq!(
            std::fs::read(&path).unwrap().len(),
            damaged.len(),
            "the file was changed"
        );
    }
    std::fs::write(&path, &whole).unwrap();
    once_started(folder.path()).await;
}

#[tokio::test]
async fn a_database_from_a_newer_release_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    once_started(folder.path()).await;
    let path = folder.path().join("state/plane.redb");
    let database = Database::open(&path).unwrap();
    let tx = database.begin_write().unwrap();
    tx.open_table(META)
        .unwrap()
        .insert(b"schema".as_slice(), 99u64.to_be_bytes().as_slice())
        .unwrap();
    tx.commit().unwrap();
    drop(database);
    let ended = start(folder.path());
    let text = said(&ended);
    assert_eq!(ended.status.code(), LASTING, "{text}");
    assert!(
        text.contains("schema 99") && text.contains("install the release that wrote it"),
        "{text}"
    );
}
