//! Tests of the store's guarantees, with any content and under any disk fault.

mod audit;
mod damage;
mod disk;
mod errors;
mod migration;
mod power;
mod queue;
mod released;
mod rows;
mod workload;
mod write_sets;

use crate::fleet::servers::revisions;
use std::sync::Arc;

use wgctl::api::Role;
use wgctl::name::UserId;

use crate::model::caller::{Action, Actor, Entry};
use crate::model::records::{Ledger, UserRecord};

use super::*;

const CACHE: usize = 8 << 20;

/// Returns whether `SENTRAZONE_FAULTS=full` requests all runs.
fn full() -> bool {
    std::env::var_os("SENTRAZONE_FAULTS").is_some_and(|value| value == "full")
}

/// Returns the number of rounds: `few`, or twenty times as many in a full run.
fn rounds(few: u64) -> u64 {
    if full() { few * 20 } else { few }
}

/// Returns the numbers of the operations to test, out of `total`: about a hundred of them, or all in a full run.
fn moments(total: u64) -> impl Iterator<Item = u64> {
    let step = if full() { 1 } else { total.div_ceil(100) };
    (1..=total).step_by(usize::try_from(step.max(1)).unwrap())
}

/// Prints a line for the fault table. If anything is lost, the test fails before this is called.
fn say(name: &str, runs: u64, figure: &str) {
    println!("fault: {name} | runs {runs} | lost 0 | {figure}");
}

fn caller() -> Caller {
    Caller::standing(Actor::Local("root".to_owned()), None)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(seconds)
}

fn user(n: usize) -> UserRecord {
    UserRecord {
        id: UserId::random(),
        email: format!("user{n}@example.com").parse().unwrap(),
        role: Role::Viewer,
        enabled: true,
        password_hash: String::new(),
        session_epoch: 1,
        created_at: at(0),
        last_login_at: None,
        known_addresses: Vec::new(),
    }
}

async fn add(store: &Store, user: UserRecord) -> Result<(), StoreError> {
    let entry = Entry::new(Action::UserCreated, &user.email);
    store
        .change(&caller(), at(1), move |tx: &dyn DurableWrite| {
            tx.put_user(&user)?;
            Ok(Change::new((), entry))
        })
        .await
}

fn users(store: &Store) -> usize {
    let all = store.read(|tx| tx.users());
    all.unwrap().len()
}

fn audit_rows(store: &Store) -> u64 {
    let beginning = store.read(|tx| tx.audit_extent());
    beginning.unwrap().head.id
}

#[tokio::test(flavor = "multi_thread")]
async fn the_changes_of_many_concurrent_callers_are_all_present_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plane.redb");
    let store = Store::open(&path, CACHE).unwrap();
    let incarnation = store.incarnation().unwrap();
    let writers: Vec<_> = (0..200)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { add(&store, user(n)).await })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    assert_eq!((users(&store), audit_rows(&store)), (200, 200));
    drop(store);
    let store = Store::open(&path, CACHE).unwrap();
    assert_eq!((users(&store), audit_rows(&store)), (200, 200));
    assert_eq!(store.incarnation().unwrap(), incarnation);
}

#[tokio::test]
async fn opening_a_database_twice_fails_with_an_error_that_names_the_cause() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plane.redb");
    let _store = Store::open(&path, CACHE).unwrap();
    let error = Store::open(&path, CACHE).err().unwrap();
    assert!(error.to_string().contains("another process"), "{error}");
}

#[test]
fn a_symbolic_link_without_a_target_is_not_replaced_by_an_empty_database() {
    let folder = tempfile::tempdir().unwrap();
    let (path, target) = (folder.path().join("plane.redb"), folder.path().join("disk/plane.redb"));
    std::os::unix::fs::symlink(&target, &path).unwrap();
    let error = Store::open(&path, CACHE).err().unwrap();
    assert!(error.to_string().contains("symbolic link"), "{error}");
    assert_eq!(std::fs::read_link(&path).unwrap(), target);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn the_database_file_is_accessible_only_to_its_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plane.redb");
    let _store = Store::open(&path, CACHE).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_refused_change_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("plane.redb"), CACHE).unwrap();
    let refused = store
        .change(&caller(), at(1), |_: &dyn DurableWrite| {
            Err::<Change<()>, _>(StoreError::Corrupt("no".to_owned()))
        })
        .await;
    assert!(matches!(refused, Err(StoreError::Corrupt(_))));
    assert_eq!((users(&store), audit_rows(&store)), (0, 0));
}

#[tokio::test]
async fn a_change_that_writes_and_then_fails_is_undone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("plane.redb"), CACHE).unwrap();
    let failed = store
        .change(&caller(), at(1), |tx: &dyn DurableWrite| {
            tx.put_user(&user(1))?;
            Err::<Change<()>, _>(StoreError::Corrupt("too late".to_owned()))
        })
        .await;
    assert!(matches!(failed, Err(StoreError::Corrupt(_))));
    assert_eq!((users(&store), audit_rows(&store)), (0, 0));
    add(&store, user(2)).await.unwrap();
    assert_eq!((users(&store), audit_rows(&store)), (1, 1));
}

#[tokio::test]
async fn a_change_without_an_audit_record_is_undone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("plane.redb"), CACHE).unwrap();
    let silent = store
        .change(&caller(), at(1), |tx: &dyn DurableWrite| {
            tx.put_user(&user(1))?;
            Ok::<_, StoreError>(Change::none(()))
        })
        .await;
    assert!(matches!(silent, Err(StoreError::Broken(_))));
    assert_eq!(users(&store), 0);
}

#[tokio::test]
async fn a_change_that_panics_is_undone_and_the_writer_keeps_running() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("plane.redb"), CACHE).unwrap();
    let panicked = store
        .change(&caller(), at(1), |tx: &dyn DurableWrite| {
            tx.put_user(&user(1))?;
            if users_of(tx)? == 1 {
                panic!("a bug");
            }
            Ok::<_, StoreError>(Change::new((), Entry::new(Action::UserCreated, "x")))
        })
        .await;
    assert!(panicked.is_err());
    assert_eq!(users(&store), 0);
    add(&store, user(2)).await.unwrap();
    assert_eq!(users(&store), 1);
}

fn users_of(tx: &dyn Read) -> Result<usize, StoreError> {
    Ok(tx.users()?.len())
}

#[tokio::test]
async fn the_audit_record_contains_the_actor_the_address_and_the_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("plane.redb"), CACHE).unwrap();
    let stranger = Caller::standing(
        Actor::Nobody("ev\nil@example.com".to_owned()),
        Some("192.0.2.7".parse().unwrap()),
    );
    store
        .change(&stranger, at(5), |_: &dyn DurableWrite| {
            Ok::<_, StoreError>(Change::new((), Entry::new(Action::LoginFailed, "a\nb")))
        })
        .await
        .unwrap();
    let filter = AuditFilter::default();
    let records = store.read(|tx| tx.audit_newest(&filter, 0, 10)).unwrap();
    let record = records.first().unwrap();
    assert_eq!((record.id, record.actor.as_str()), (1, "evil@example.com"));
    assert_eq!((record.action.as_str(), record.target.as_str()), ("login_failed", "ab"));
    assert_eq!((record.ip.as_str(), record.created_at), ("192.0.2.7", at(5)));
}

#[tokio::test]
async fn metrics_are_visible_immediately_and_survive_closing_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plane.redb");
    let server: wgctl::ServerId = "a".parse().unwrap();
    let store = Store::open(&path, CACHE).unwrap();
    let id = server.clone();
    store
        .record(move |tx: &dyn LossyWrite| tx.put_hour(7, &id, b"x"))
        .await
        .unwrap();
    let hour = |store: &Store| store.read(|tx| tx.hour(7, &server)).unwrap();
    assert_eq!(hour(&store).as_deref(), Some(b"x".as_slice()));
    drop(store);
    let store = Store::open(&path, CACHE).unwrap();
    assert_eq!(hour(&store).as_deref(), Some(b"x".as_slice()));
}

#[tokio::test]
async fn the_store_can_be_shared_between_tasks() {
    fn is_shared<T: Send + Sync + 'static>(_: &T) {}
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("plane.redb"), CACHE).unwrap();
    is_shared(&store);
    is_shared(&Arc::new(store));
}

#[tokio::test]
async fn the_change_log_keeps_the_last_ten_thousand_changes() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("plane.redb"), CACHE).unwrap();
    let server: wgctl::ServerId = "a".parse().unwrap();
    let id = server.clone();
    let ledger = store
        .change(&caller(), at(1), move |tx: &dyn DurableWrite| {
            let mut ledger = Ledger {
                revision: 1,
                floor: 1,
                last_place: 0,
                peers: 0,
            };
            for n in 0..10_050u64 {
                let peer = wgctl::PeerId::from_bytes(u128::from(n).to_be_bytes());
                revisions::advance(tx, &id, &mut ledger, Some(&peer))?;
            }
            Ok::<_, StoreError>(Change::new(ledger, Entry::new(Action::ServerUpdated, &id)))
        })
        .await
        .unwrap();
    assert_eq!((ledger.revision, ledger.floor), (10_051, 51));
    let since = async |revision| {
        let changes = store.read(|tx| tx.changes_after(&server, revision));
        changes.unwrap().peers.len()
    };
    assert_eq!(
        (since(0).await, since(51).await, since(10_050).await),
        (10_000, 10_000, 1)
    );
}

impl Store {
    /// Reads like [`Self::read`], with access to the rows of all tables.
    fn read_rows<T, E: From<StoreError>>(
        &self,
        read: impl FnOnce(&super::redb::rows::ReadTx) -> Result<T, E>,
    ) -> Result<T, E> {
        self.engine.read(read)
    }

    /// Records like [`Self::record`], with access to the rows of all tables.
    async fn record_rows<T: Send + 'static>(
        &self,
        record: impl FnOnce(&super::redb::rows::WriteTx) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.engine.record(Durability::Lazy, record).await
    }
}
