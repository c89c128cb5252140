//! Tests with databases and backups that were written by earlier releases.
//!
//! Owns the expected content: this release must read the same servers, states and peers from files that were written by
//! the old code.

use std::fs::{self, File};
use std::path::Path;

use serde_json::{Value, json};

use super::{CACHE, caller};
use crate::fleet::{Fleet, PeersQuery, Settings};
use crate::store::Store;

const SCHEMA_1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/tests/schema_1");

fn expected() -> Value {
    serde_json::from_slice(&fs::read(Path::new(SCHEMA_1).join("expected.json")).unwrap()).unwrap()
}

/// Returns the content of the fleet, in the form of `expected.json`.
async fn lists(fleet: &Fleet) -> Value {
    let servers = fleet.servers().await.unwrap();
    let mut peers = serde_json::Map::new();
    for server in &servers {
        let page = fleet.peers(&server.id, PeersQuery::default()).await.unwrap();
        peers.insert(server.id.to_string(), serde_json::to_value(page.peers).unwrap());
    }
    json!({"servers": servers, "status": fleet.statuses().await.unwrap(), "peers": peers})
}

/// Removes the fields that depend on the time of reading.
fn timeless(mut lists: Value) -> Value {
    for status in lists["status"].as_array_mut().unwrap() {
        status["online"].take();
    }
    lists
}

#[tokio::test]
async fn a_database_with_schema_1_is_migrated_without_losing_anything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plane.redb");
    fs::copy(Path::new(SCHEMA_1).join("plane.redb"), &path).unwrap();
    let store = Store::open(&path, CACHE).unwrap();
    super::rows::verify(&store, "after the migration");
    let fleet = Fleet::new(store, Settings::default());
    assert_eq!(timeless(lists(&fleet).await), timeless(expected()));
    assert!(folder.path().join("plane.redb.schema-1").exists(), "no copy was made");
    // A second start finds the new schema.
    drop(fleet);
    let fleet = Fleet::new(Store::open(&path, CACHE).unwrap(), Settings::default());
    assert_eq!(timeless(lists(&fleet).await), timeless(expected()));
}

#[tokio::test]
async fn a_backup_with_schema_1_can_be_restored() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("plane.redb"), CACHE).unwrap();
    let fleet = Fleet::new(store.clone(), Settings::default());
    let mut copy = fleet.receive().unwrap();
    let mut backup = File::open(Path::new(SCHEMA_1).join("plane.backup")).unwrap();
    std::io::copy(&mut backup, &mut copy.file).unwrap();
    fleet.restore(&caller(), copy).await.unwrap();
    super::rows::verify(&store, "after the restore");
    let (mut wanted, mut found) = (timeless(expected()), timeless(lists(&fleet).await));
    for lists in [&mut wanted, &mut found] {
        // A restore begins a new incarnation of the database, in which nothing has been confirmed yet.
        for server in lists["servers"].as_array_mut().unwrap() {
            server["applied_revision"].take();
        }
        for status in lists["status"].as_array_mut().unwrap() {
            status["applied_revision"].take();
        }
        for peers in lists["peers"].as_object_mut().unwrap().values_mut() {
            for peer in peers.as_array_mut().unwrap() {
                for field in ["applied", "pendingSince", "failed"] {
                    peer.as_object_mut().unwrap().remove(field);
                }
            }
        }
    }
    assert_eq!(found, wanted);
    let drift = &found["status"].as_array().unwrap()[2]["drift"];
    assert_eq!(drift[0]["kind"], "link_down", "confirmed drift was not restored");
}
