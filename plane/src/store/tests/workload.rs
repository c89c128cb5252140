//! A scripted workload for a fleet, and the comparison of the database with the outcomes of the workload.
//!
//! Owns the script, the list of acknowledged steps, and the comparison. It must not cause faults: they belong to
//! `disk`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use wgctl::api::{AuditLine, NewPeer, NewServer, Report, Role};
use wgctl::{PrivateKey, ServerId};

use super::disk::Disk;
use super::{CACHE, at, caller, rows};
use crate::fleet::{Fleet, Idempotency, NewAccount, PeersQuery, Refusal, Settings, Vault};
use crate::store::redb::disk;
use crate::store::{Store, StoreError};

pub(super) const PATH: &str = "/plane.redb";

/// One step of the workload. Each name is used only once.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Server(&'static str),
    Peer(&'static str, &'static str),
    Disable(&'static str, &'static str),
    Delete(&'static str, &'static str),
    Remove(&'static str),
    User(&'static str),
    Report(&'static str),
}

use Step::{Delete, Disable, Peer, Remove, Report as Metrics, Server, User};

/// The steps that run before any fault.
pub(super) const BEFORE: &[&[Step]] = &[
    &[Server("oslo")],
    &[Peer("oslo", "ann"), Peer("oslo", "bob"), Peer("oslo", "cid")],
    &[Metrics("oslo")],
    &[User("first@example.com")],
];

/// The steps during which faults happen. The steps in one inner list run concurrently.
pub(super) const SCRIPT: &[&[Step]] = &[
    &[Peer("oslo", "dan")],
    &[Metrics("oslo")],
    &[Disable("oslo", "ann")],
    &[Server("rome")],
    &[
        Peer("rome", "eve"),
        Peer("oslo", "fay"),
        Peer("rome", "gus"),
        Disable("oslo", "bob"),
    ],
    &[Metrics("oslo")],
    &[Delete("oslo", "cid")],
    &[User("second@example.com")],
    &[Remove("rome")],
    &[Peer("oslo", "hal")],
];

/// The steps, grouped by outcome, each as `(action, target)`.
#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    pub(super) acknowledged: BTreeSet<(String, String)>,
    pub(super) unsure: BTreeSet<(String, String)>,
    /// The number of failed attempts.
    pub(super) failures: usize,
    /// The number of commits that panicked inside the database.
    pub(super) panics: usize,
    /// The targets of steps with an unknown outcome. Later steps on these targets are skipped.
    given_up: BTreeSet<String>,
}

struct Plain;

impl Vault for Plain {
    fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, String> {
        Ok(plain.to_vec())
    }

    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, String> {
        Ok(sealed.to_vec())
    }
}

fn once(name: &str) -> Idempotency {
    let mut scope = [0; 32];
    scope[..name.len()].copy_from_slice(name.as_bytes());
    Idempotency {
        scope,
        body: [1; 32],
        vault: Arc::new(Plain),
    }
}

pub(super) fn open(disk: &Disk) -> Result<Fleet, StoreError> {
    open_with(disk, CACHE)
}

/// Opens the database with a cache of `cache_bytes`. Without a cache, every read goes to the disk.
pub(super) fn open_with(disk: &Disk, cache_bytes: usize) -> Result<Fleet, StoreError> {
    let medium: Arc<dyn disk::Medium> = Arc::new(disk.clone());
    let store = Store::open_on(medium, PATH.as_ref(), cache_bytes)?;
    let settings = Settings {
        apply_timeout: Duration::ZERO,
        clock: wgctl::Clock::new(|| at(1_000_000)),
        ..Settings::default()
    };
    Ok(Fleet::new(store, settings))
}

/// Returns a disk with a closed database that has some content, and the log of the steps that wrote the content.
pub(super) async fn furnished() -> (Disk, Log) {
    let disk = Disk::default();
    let fleet = open(&disk).unwrap();
    let mut log = Log::default();
    run(&fleet, BEFORE, &mut log, Failure::TryAgain).await;
    assert!(log.unsure.is_empty());
    drop(fleet);
    let image = Disk::default();
    image.put(PATH.as_ref(), disk.bytes(PATH.as_ref()).unwrap());
    (image, log)
}

/// The reaction to a step that fails.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Stop,
    GoOn,
    TryAgain,
}

/// Runs a script.
pub(super) async fn run(fleet: &Fleet, script: &[&[Step]], log: &mut Log, failure: Failure) {
    for steps in script {
        let due: Vec<Step> = steps.iter().copied().filter(|step| !log.has_given_up(*step)).collect();
        let outcomes = join_all(due.iter().map(|step| attempt(fleet, *step, failure))).await;
        let failed = outcomes.iter().any(|outcome| !outcome.done);
        for (step, outcome) in due.into_iter().zip(outcomes) {
            log.note(step, outcome);
        }
        if failed && failure == Failure::Stop {
            return;
        }
    }
}

struct Outcome {
    done: bool,
    failures: usize,
    panics: usize,
}

async fn attempt(fleet: &Fleet, step: Step, failure: Failure) -> Outcome {
    let tries = if failure == Failure::TryAgain { 4 } else { 1 };
    let mut outcome = Outcome {
        done: false,
        failures: 0,
        panics: 0,
    };
    for again in 0..tries {
        if again > 0 {
            // If a reader got the error, the writer reopens the database with its next batch.
            let _ = fleet.ready().await;
        }
        match perform(fleet, step).await {
            Ok(()) => {
                outcome.done = true;
                return outcome;
            }
            // An earlier attempt succeeded without being acknowledged.
            Err(Refusal::NotFound { .. } | Refusal::ServerExists(_) | Refusal::UserExists(_)) if again > 0 => {
                outcome.done = true;
                return outcome;
            }
            Err(Refusal::Store(error)) => {
                assert!(!matches!(error, StoreError::Broken(_)), "{step:?}: {error}");
                outcome.failures += 1;
                outcome.panics += usize::from(error.to_string().contains("panicked"));
            }
            Err(other) => panic!("{step:?} was refused: {other}"),
        }
    }
    outcome
}

async fn perform(fleet: &Fleet, step: Step) -> Result<(), Refusal> {
    let me = caller();
    match step {
        Server(id) => {
            let new: NewServer = serde_json::from_value(serde_json::json!({
                "id": id, "endpoint": "vpn.example.com:51820", "address_pool": ["10.8.0.0/28", "fd00::/124"]
            }))
            .unwrap();
            fleet.create_server(&me, new, None).await.map(drop)
        }
        Peer(server, name) => {
            let new = NewPeer {
                name: Some(name.parse().unwrap()),
                public_key: Some(PrivateKey::generate().unwrap().public_key()),
                preshared_key: Some(false),
                ..NewPeer::default()
            };
            let made = fleet.create_peer(&me, &id(server), new, Some(once(name))).await;
            made.map(drop)
        }
        Disable(server, name) => {
            let peer = find(fleet, server, name).await?;
            fleet.enable_peer(&me, &id(server), &peer, false).await.map(drop)
        }
        Delete(server, name) => {
            let peer = find(fleet, server, name).await?;
            fleet.remove_peer(&me, &id(server), &peer).await.map(drop)
        }
        Remove(server) => fleet.remove_server(&me, &id(server)).await,
        User(email) => {
            let new = NewAccount {
                email: email.parse().unwrap(),
                password_hash: "x".to_owned(),
                role: Role::Viewer,
            };
            fleet.create_user(&me, new, None).await.map(drop)
        }
        Metrics(server) => {
            let report: Report = serde_json::from_value(serde_json::json!({
                "server_id": server, "ping_ms": 1.5, "peers": 3, "transfer_rx": 10, "transfer_tx": 20
            }))
            .unwrap();
            fleet.report(&me, &id(server), report).await
        }
    }
}

fn id(server: &str) -> ServerId {
    server.parse().unwrap()
}

async fn find(fleet: &Fleet, server: &str, name: &str) -> Result<wgctl::PeerId, Refusal> {
    let page = fleet.peers(&id(server), PeersQuery::default()).await?;
    let found = page.peers.iter().find(|peer| peer.name.as_str() == name);
    found
        .map(|peer| peer.id)
        .ok_or_else(|| Refusal::NotFound { what: name.to_owned() })
}

/// Returns a step in the form in which the audit log records it, or `None` for metrics.
fn audited(step: Step) -> Option<(String, String)> {
    let (action, target) = match step {
        Server(id) => ("server_created", id.to_owned()),
        Peer(server, name) => ("wg_client_created", format!("{server}/{name}")),
        Disable(server, name) => ("wg_client_disabled", format!("{server}/{name}")),
        Delete(server, name) => ("wg_client_deleted", format!("{server}/{name}")),
        Remove(server) => ("server_deleted", server.to_owned()),
        User(email) => ("user_created", email.to_owned()),
        Metrics(_) => return None,
    };
    Some((action.to_owned(), target))
}

impl Log {
    fn note(&mut self, step: Step, outcome: Outcome) {
        self.failures += outcome.failures;
        self.panics += outcome.panics;
        let Some(entry) = audited(step) else { return };
        if outcome.done {
            self.acknowledged.insert(entry);
        } else {
            self.given_up.insert(entry.1.clone());
            self.unsure.insert(entry);
        }
    }

    fn has_given_up(&self, step: Step) -> bool {
        let target = match step {
            Metrics(server) => server.to_owned(),
            other => audited(other).unwrap().1,
        };
        let server = target.split('/').next().unwrap();
        let of_its_own = |given: &String| given.split('/').next() == Some(&target);
        self.given_up.contains(&target)
            || self.given_up.contains(server)
            || matches!(step, Remove(_)) && self.given_up.iter().any(of_its_own)
    }

    /// Compares the database with the outcomes. Every change must have its audit record, and every record its change.
    pub(super) async fn verify(&self, fleet: &Fleet, when: &str) {
        rows::verify(fleet.store(), when);
        let records = fleet
            .store()
            .read(|tx| tx.audit_lines(1, u64::MAX, usize::MAX))
            .unwrap();
        let records = records.0.into_iter().filter_map(|line| match line {
            AuditLine::Record(record) => Some(record),
            _ => None,
        });
        let mut recorded = BTreeSet::new();
        for (place, record) in records.enumerate() {
            assert_eq!(record.id, place as u64 + 1, "{when}: the audit log has a gap");
            let entry = (record.action.clone(), record.target.clone());
            assert!(recorded.insert(entry.clone()), "{when}: {entry:?} was done twice");
        }
        let lost: Vec<_> = self.acknowledged.difference(&recorded).collect();
        assert!(lost.is_empty(), "{when}: acknowledged but lost: {lost:?}");
        for entry in &recorded {
            let known = self.acknowledged.contains(entry) || self.unsure.contains(entry);
            assert!(known, "{when}: {entry:?} was never requested");
        }
        assert_eq!(
            found(fleet, when).await,
            expected(&recorded),
            "{when}: the database differs from its audit log"
        );
    }
}

/// The peers of each server by name, each with its enabled flag, and the users.
type Shape = (BTreeMap<String, BTreeMap<String, bool>>, BTreeSet<String>);

/// Returns the content that the database must have according to the audit records.
fn expected(recorded: &BTreeSet<(String, String)>) -> Shape {
    let has = |action: &str, target: &str| recorded.contains(&(action.to_owned(), target.to_owned()));
    let mut shape = Shape::default();
    for (action, target) in recorded {
        match (action.as_str(), target.split_once('/')) {
            ("server_created", _) if !has("server_deleted", target) => {
                shape.0.entry(target.clone()).or_default();
            }
            ("wg_client_created", Some((server, name)))
                if !has("wg_client_deleted", target) && !has("server_deleted", server) =>
            {
                let enabled = !has("wg_client_disabled", target);
                let server = shape.0.entry(server.to_owned()).or_default();
                server.insert(name.to_owned(), enabled);
            }
            ("user_created", _) => {
                shape.1.insert(target.clone());
            }
            _ => {}
        }
    }
    shape
}

async fn found(fleet: &Fleet, when: &str) -> Shape {
    let mut shape = Shape::default();
    for server in fleet.servers().await.unwrap_or_else(|error| panic!("{when}: {error}")) {
        let page = fleet.peers(&server.id, PeersQuery::default()).await.unwrap();
        let peers = page.peers.into_iter().map(|peer| (peer.name.to_string(), peer.enabled));
        shape.0.insert(server.id.to_string(), peers.collect());
    }
    shape.1 = fleet
        .users()
        .await
        .unwrap()
        .into_iter()
        .map(|user| user.email.to_string())
        .collect();
    shape
}
