//! Backup and restore of the database, without HTTP.

use std::io::{Read as _, Write as _};

use wgctl::backup::{Header, Item, Reader, Writer};
use wgctl::name::Incarnation;

use super::*;

async fn bytes(scene: &Scene) -> Vec<u8> {
    let mut copy = scene.fleet.back_up(&admin()).await.unwrap();
    let mut bytes = Vec::new();
    copy.file.read_to_end(&mut bytes).unwrap();
    bytes
}

async fn restore(scene: &Scene, bytes: &[u8]) -> Result<wgctl::backup::Summary, Refusal> {
    let mut copy = scene.fleet.receive().unwrap();
    copy.file.write_all(bytes).unwrap();
    scene.fleet.restore(&admin(), copy).await
}

/// Returns the same backup with another schema, and with the values of some rows changed.
fn rewritten(bytes: &[u8], schema: u64, change: impl Fn(&str, &[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut reader = Reader::begin(bytes).unwrap();
    let header = Header {
        schema,
        ..*reader.header()
    };
    let mut writer = Writer::begin(Vec::new(), &header).unwrap();
    let mut table = String::new();
    while let Some(item) = reader.item().unwrap() {
        match item {
            Item::Table(name) => {
                name.clone_into(&mut table);
                writer.table(name).unwrap();
            }
            Item::Row { key, value } => {
                let changed = change(&table, value);
                writer.row(key, changed.as_deref().unwrap_or(value)).unwrap();
            }
        }
    }
    writer.end().unwrap()
}

/// The schema version of the backups that this release makes.
const SCHEMA: u64 = crate::store::SCHEMA_VERSION;

#[tokio::test]
async fn confirmations_for_a_previous_incarnation_no_longer_count() {
    let scene = scene().await;
    scene.create(with_key("alice")).await.unwrap();
    scene.stock(5).await;
    scene.apply(2).await;
    let before = scene.fleet.store().incarnation().unwrap();
    let backup = bytes(&scene).await;
    let summary = restore(&scene, &backup).await.unwrap();
    assert_eq!((summary.servers, summary.peers, summary.incarnation), (1, 1, before));
    let after = scene.fleet.store().incarnation().unwrap();
    assert_ne!(before, after);

    let applied = || scene.fleet.applied_revision(&scene.server).unwrap();
    assert_eq!(applied(), None);
    let late = |incarnation: Incarnation| Applied {
        incarnation,
        revision: 2,
        failed: Vec::new(),
        interface_failed: None,
    };
    scene
        .fleet
        .applied(&scene.caller(), &scene.server, late(before))
        .await
        .unwrap();
    assert_eq!(applied(), None, "the confirmation is for the old incarnation");
    scene
        .fleet
        .applied(&scene.caller(), &scene.server, late(after))
        .await
        .unwrap();
    assert_eq!(applied(), Some(2));
    let stock = scene.fleet.store().read(|tx| tx.prekey_stock(&scene.server));
    assert_eq!(stock.unwrap(), 0, "prekeys are not restored");
    assert_eq!(scene.actions().await[..2], ["database_restored", "backup_created"]);
}

#[tokio::test]
async fn a_backup_with_another_schema_or_unreadable_records_is_refused() {
    let scene = scene().await;
    scene.create(with_key("alice")).await.unwrap();
    let backup = bytes(&scene).await;
    let life = scene.fleet.store().incarnation().unwrap();
    let actions = scene.actions().await;
    for schema in [0, SCHEMA + 1, u64::MAX] {
        let error = restore(&scene, &rewritten(&backup, schema, |_, _| None))
            .await
            .unwrap_err();
        assert_eq!(error.code(), "invalid_backup");
        assert!(error.to_string().contains("schema"), "{error}");
    }
    for table in ["servers", "ledgers", "peers", "audit"] {
        let spoilt = rewritten(&backup, SCHEMA, |name, _| {
            (name == table).then(|| b"{\"id\":7}".to_vec())
        });
        let error = restore(&scene, &spoilt).await.unwrap_err();
        assert_eq!(error.code(), "invalid_backup");
        assert!(error.to_string().contains(table), "{error}");
    }
    let of_schema_1 = include_bytes!("../../store/tests/schema_1/plane.backup");
    let spoilt = rewritten(of_schema_1, 1, |name, _| {
        (name == "agent_states").then(|| b"[]".to_vec())
    });
    let error = restore(&scene, &spoilt).await.unwrap_err();
    assert_eq!(error.code(), "invalid_backup");
    assert_eq!(scene.fleet.store().incarnation().unwrap(), life, "nothing was changed");
    assert_eq!(scene.actions().await, actions);
    restore(&scene, &rewritten(&backup, SCHEMA, |_, _| None)).await.unwrap();
}

#[tokio::test]
async fn only_a_few_copies_are_on_disk_at_once() {
    let scene = scene().await;
    let held = (
        scene.fleet.back_up(&admin()).await.unwrap(),
        scene.fleet.receive().unwrap(),
    );
    let third = scene.fleet.back_up(&admin()).await.map(|_| ()).unwrap_err();
    assert_eq!((third.code(), third.retry_after()), ("overloaded", Some(60)));
    drop(held);
    scene.fleet.back_up(&admin()).await.unwrap();
}
