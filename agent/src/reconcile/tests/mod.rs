//! Tests of the reconciler with an in-memory kernel and host: the resulting state and the reported verdict.

mod counting;
mod drift;
mod event_loop;
mod metrics;
mod random;
mod refusals;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use wgctl::device::memory::Memory;
use wgctl::device::plan::PeerChange;
use wgctl::device::{Backend as _, Device, Peer, Plan};
use wgctl::name::{Incarnation, InterfaceName};
use wgctl::protocol::v1::{self, Change, Interface};
use wgctl::{PrivateKey, PublicKey, Timestamp};

use super::*;
use crate::cache;
use crate::desired::tests::{answer, interface, peer, server, snapshot};
use crate::desired::{Base, ChangeScope, StepError};
use crate::drift::DriftReceipt;
use crate::secrets::Secrets;
use crate::{captured_log, host};

/// A host, and the responses that a plane would send to it.
struct Rig {
    folder: tempfile::TempDir,
    secrets: Arc<Secrets>,
    devices: Memory,
    host: host::Memory,
    life: Incarnation,
    revision: u64,
    now: Timestamp,
    reconciler: Reconciler<Memory, host::Memory>,
}

impl Rig {
    fn new() -> Self {
        captured_log::begin();
        let folder = tempfile::tempdir().unwrap();
        let secrets = Arc::new(Secrets::open(folder.path()).unwrap());
        let devices = Memory::new();
        let host = host::Memory::new(devices.clone());
        let reconciler = reconciler(&devices, &host, &secrets, &folder);
        Self {
            folder,
            secrets,
            devices,
            host,
            life: Incarnation::random(),
            revision: 0,
            now: Timestamp::from_unix(1_800_000_000),
            reconciler,
        }
    }

    /// Creates a rig with these peers on the interface.
    fn with(peers: &[v1::Peer]) -> Self {
        let mut rig = Self::new();
        rig.take(snapshot(peers)).unwrap();
        assert!(rig.reconciler.verdict().is_clean(), "{:?}", rig.reconciler.verdict());
        rig
    }

    /// Kills and restarts the agent, which then has only the data that it has stored.
    fn restart(&mut self) {
        self.reconciler.save_counters();
        self.reconciler = reconciler(&self.devices, &self.host, &self.secrets, &self.folder);
    }

    fn take(&mut self, change: Change) -> Result<ChangeScope, StepError> {
        self.revision += 1;
        let desired = answer(self.life, self.revision, change);
        self.reconciler.take(&server(), desired, Base::Here, self.now)
    }

    fn delta(&mut self, upsert: &[v1::Peer], remove: &[v1::Peer]) {
        let change = Change::Delta {
            interface: None,
            upsert: upsert.to_vec(),
            remove: remove.iter().map(|peer| peer.id).collect(),
        };
        self.take(change).unwrap();
    }

    fn set_interface(&mut self, interface: Interface) {
        let change = Change::Delta {
            interface: Some(interface),
            upsert: Vec::new(),
            remove: Vec::new(),
        };
        self.take(change).unwrap();
    }

    fn round(&mut self) {
        self.reconciler.round(self.now);
    }

    fn device(&self) -> Device {
        self.devices.device(&name()).unwrap()
    }

    fn keys(&self) -> BTreeSet<PublicKey> {
        self.device().peers.into_keys().collect()
    }

    /// Returns the reason why the peer failed, if it did.
    fn failed(&self, peer: &v1::Peer) -> Option<&str> {
        self.reconciler.verdict().failed.get(&peer.id).map(String::as_str)
    }

    /// Changes peers on the interface as another program would.
    fn meddle(&mut self, changes: Vec<PeerChange>) {
        let plan = Plan {
            peers: changes,
            ..Plan::default()
        };
        self.devices.apply(&name(), &plan).unwrap();
    }

    /// Returns a peer with keys that this host generated.
    fn sealed(&self, number: u8) -> v1::Peer {
        let prekey = self.secrets.prekey(&server()).unwrap();
        v1::Peer {
            id: prekey.id,
            public_key: prekey.public_key,
            preshared_key: Some(prekey.preshared_key),
            ..peer(number)
        }
    }
}

fn reconciler(
    devices: &Memory,
    host: &host::Memory,
    secrets: &Arc<Secrets>,
    folder: &tempfile::TempDir,
) -> Reconciler<Memory, host::Memory> {
    let folder = folder.path().to_owned();
    Reconciler::new(devices.clone(), host.clone(), LinkBy::Us, Arc::clone(secrets), folder)
}

fn name() -> InterfaceName {
    interface().name
}

fn key() -> PublicKey {
    PrivateKey::generate().unwrap().public_key()
}

fn keys(peers: &[&v1::Peer]) -> BTreeSet<PublicKey> {
    peers.iter().map(|peer| peer.public_key).collect()
}

fn meddling(kind: wgctl::device::plan::ChangeKind, public_key: PublicKey, allowed_ips: &[&str]) -> PeerChange {
    PeerChange {
        public_key,
        kind,
        preshared_key: None,
        persistent_keepalive: None,
        endpoint: None,
        replace_allowed_ips: false,
        allowed_ips: allowed_ips.iter().map(|net| net.parse().unwrap()).collect(),
    }
}

#[test]
fn a_snapshot_sets_up_the_whole_interface() {
    let mut rig = Rig::new();
    let (mut one, two) = (rig.sealed(2), peer(3));
    one.allowed_ips.push("10.50.0.0/16".parse().unwrap());
    rig.take(snapshot(&[one.clone(), two.clone()])).unwrap();
    let device = rig.device();
    assert_eq!(device.private_key.as_ref(), Some(rig.secrets.private_key()));
    assert_eq!(device.listen_port, 51820);
    assert_eq!(rig.keys(), keys(&[&one, &two]));
    assert!(device.peers[&one.public_key].preshared_key.is_some());
    let spec = rig.host.shown(&name()).unwrap();
    assert_eq!(spec.addresses, interface().addresses.into_iter().collect());
    assert_eq!(spec.our_routes, BTreeSet::from(["10.50.0.0/16".parse().unwrap()]));
    let verdict = rig.reconciler.verdict().message().unwrap();
    assert_eq!(
        (verdict.revision, verdict.failed.len(), verdict.interface_failed),
        (1, 0, None)
    );
}

#[test]
fn a_boot_without_a_plane_restores_everything_from_the_cache() {
    let mut rig = Rig::new();
    let (one, two) = (rig.sealed(2), peer(3));
    rig.take(snapshot(&[one.clone(), two.clone()])).unwrap();
    let mut newer = peer(4);
    newer.expires_at = Some(rig.now.after(Duration::from_secs(3600)));
    rig.delta(&[newer], &[two]);
    let before = rig.device();
    assert_eq!(rig.reconciler.verdict().revision, 2, "confirmed");
    rig.devices.delete(&name());
    rig.restart();
    assert_eq!(
        rig.reconciler.verdict().revision,
        0,
        "no revision is confirmed before it is applied"
    );
    rig.round();
    assert_eq!(rig.device(), before);
    assert_eq!(rig.reconciler.verdict().revision, 2);
}

#[test]
fn a_round_with_nothing_to_do_writes_nothing() {
    let mut rig = Rig::with(&[peer(2), peer(3)]);
    let before = (rig.devices.writes(), rig.host.writes());
    rig.round();
    rig.restart();
    rig.round();
    let peers: Vec<_> = rig.reconciler.state().unwrap().peers.values().cloned().collect();
    rig.take(snapshot(&peers)).unwrap();
    assert_eq!((rig.devices.writes(), rig.host.writes()), before);
}

#[test]
fn a_delta_changes_only_the_peers_that_it_names() {
    let (one, mut two, bystander) = (peer(2), peer(3), peer(4));
    let mut rig = Rig::with(&[one.clone(), bystander.clone()]);
    // Drift of a peer that the delta does not name is left to the next round.
    let extra = "10.9.9.9/32";
    rig.meddle(vec![meddling(
        wgctl::device::plan::ChangeKind::Update,
        bystander.public_key,
        &[extra],
    )]);
    rig.devices.set_counters(&name(), &bystander.public_key, 7, 8);
    let untouched = rig.device().peers[&bystander.public_key].clone();

    rig.delta(&[two.clone()], &[]);
    assert_eq!(rig.keys(), keys(&[&one, &two, &bystander]));
    two.allowed_ips = vec!["10.8.0.33/32".parse().unwrap()];
    rig.delta(&[two.clone()], &[]);
    assert_eq!(
        rig.device().peers[&two.public_key].allowed_ips,
        BTreeSet::from(["10.8.0.33/32".parse().unwrap()])
    );
    rig.delta(&[], &[one]);
    assert_eq!(rig.keys(), keys(&[&two, &bystander]));
    assert_eq!(rig.device().peers[&bystander.public_key], untouched);
    assert_eq!(rig.reconciler.verdict().revision, 4);
}

#[test]
fn one_change_is_one_write() {
    let mut rig = Rig::with(&[peer(2), peer(3)]);
    let before = (rig.devices.writes(), rig.host.writes());
    let newcomer = peer(4);
    rig.delta(std::slice::from_ref(&newcomer), &[]);
    rig.delta(std::slice::from_ref(&newcomer), &[]);
    rig.delta(&[], &[newcomer]);
    assert_eq!((rig.devices.writes(), rig.host.writes()), (before.0 + 2, before.1));
}

#[test]
fn the_host_side_is_read_only_if_routes_may_have_changed() {
    let mut networked = peer(2);
    networked.allowed_ips.push("10.50.0.0/16".parse().unwrap());
    let mut rig = Rig::with(&[networked.clone()]);
    let reads = rig.host.reads();
    networked.persistent_keepalive = Some(25);
    rig.delta(std::slice::from_ref(&networked), &[]);
    let mut ending = peer(3);
    ending.expires_at = Some(rig.now.after(Duration::from_secs(60)));
    rig.delta(std::slice::from_ref(&ending), &[]);
    assert_eq!(rig.host.reads(), reads);
    networked.expires_at = ending.expires_at;
    rig.delta(&[networked], &[]);
    assert!(rig.host.reads() > reads, "its expiry may have been postponed");
}

#[test]
fn a_state_that_could_not_be_cached_is_cached_as_soon_as_possible() {
    let mut rig = Rig::with(&[peer(2)]);
    assert!(!rig.reconciler.cache_is_behind());
    let cache = rig.folder.path().join("desired.cache");
    std::fs::remove_file(&cache).unwrap();
    std::fs::create_dir_all(cache.join("in the way")).unwrap();
    rig.take(snapshot(&[peer(3)])).unwrap();
    assert!(rig.reconciler.cache_is_behind());
    assert_eq!(rig.keys().len(), 1, "the kernel has the peer nevertheless");
    std::fs::remove_dir_all(&cache).unwrap();
    rig.reconciler.save();
    assert!(!rig.reconciler.cache_is_behind());
    assert_eq!(cache::load(rig.folder.path()).unwrap().as_ref(), rig.reconciler.state());
}

#[test]
fn an_mtu_set_by_the_agent_is_reset_and_any_other_is_left_alone() {
    let mut rig = Rig::with(&[]);
    let mtu = |rig: &Rig| rig.host.shown(&name()).unwrap().mtu;
    let set = |rig: &mut Rig, mtu| rig.set_interface(Interface { mtu, ..interface() });
    rig.host.meddle(&name(), |shown| shown.mtu = 1300);
    set(&mut rig, None);
    rig.round();
    assert_eq!(mtu(&rig), 1300);
    set(&mut rig, Some(1380));
    assert_eq!(mtu(&rig), 1380);
    set(&mut rig, None);
    assert_eq!(mtu(&rig), 1420);
}

#[test]
fn the_target_to_watch_is_the_existing_link() {
    let mut rig = Rig::new();
    let target = rig.reconciler.target();
    assert_eq!(*target.borrow(), None);
    rig.take(snapshot(&[])).unwrap();
    let there = Target {
        name: name(),
        index: rig.devices.index(&name()),
    };
    assert_eq!(*target.borrow(), Some(there));
}

#[test]
fn a_disabled_peer_is_restored_unchanged_when_it_is_enabled() {
    let mut rig = Rig::new();
    let one = rig.sealed(2);
    rig.take(snapshot(std::slice::from_ref(&one))).unwrap();
    let before = rig.device();
    rig.delta(&[], std::slice::from_ref(&one));
    assert!(rig.keys().is_empty());
    rig.delta(std::slice::from_ref(&one), &[]);
    assert_eq!(rig.device(), before);
}

#[test]
fn the_old_key_of_a_rekeyed_peer_is_removed() {
    let mut one = peer(2);
    let mut rig = Rig::with(std::slice::from_ref(&one));
    one.public_key = key();
    rig.delta(std::slice::from_ref(&one), &[]);
    assert_eq!(rig.keys(), keys(&[&one]));
    assert_eq!(rig.device().peers[&one.public_key].allowed_ips.len(), 1);
}

#[test]
fn peers_can_swap_addresses_and_keys() {
    let (mut one, mut two) = (peer(2), peer(3));
    let mut rig = Rig::with(&[one.clone(), two.clone()]);
    std::mem::swap(&mut one.allowed_ips, &mut two.allowed_ips);
    rig.delta(&[one.clone(), two.clone()], &[]);
    let networks = |rig: &Rig, peer: &v1::Peer| rig.device().peers[&peer.public_key].allowed_ips.clone();
    for peer in [&one, &two] {
        assert_eq!(networks(&rig, peer), peer.allowed_ips.iter().copied().collect());
    }
    std::mem::swap(&mut one.public_key, &mut two.public_key);
    rig.delta(&[one.clone(), two.clone()], &[]);
    for peer in [&one, &two] {
        assert_eq!(networks(&rig, peer), peer.allowed_ips.iter().copied().collect());
    }
    let before = rig.devices.writes();
    rig.round();
    assert_eq!(
        rig.devices.writes(),
        before,
        "the remembered state matches the interface"
    );
}

#[test]
fn a_network_behind_a_peer_is_routed_while_the_peer_is_on_the_interface() {
    let mut one = peer(2);
    let mut rig = Rig::with(&[peer(3)]);
    one.allowed_ips.push("10.50.0.0/16".parse().unwrap());
    rig.delta(std::slice::from_ref(&one), &[]);
    assert_eq!(rig.host.shown(&name()).unwrap().our_routes.len(), 1);
    rig.delta(&[], &[one]);
    assert!(rig.host.shown(&name()).unwrap().our_routes.is_empty());
}

#[test]
fn a_peer_is_removed_when_it_expires_and_not_before() {
    let mut one = peer(2);
    let mut rig = Rig::new();
    let end = rig.now.after(Duration::from_secs(60));
    one.expires_at = Some(end);
    rig.take(snapshot(&[one.clone(), peer(3)])).unwrap();
    assert_eq!(rig.reconciler.next_expiry(), Some(end));
    rig.now = end.before(Duration::from_secs(1));
    rig.round();
    assert!(rig.keys().contains(&one.public_key));
    rig.now = end;
    rig.round();
    assert!(!rig.keys().contains(&one.public_key));
    assert_eq!(rig.reconciler.next_expiry(), None);
    assert!(rig.reconciler.verdict().is_clean(), "an expiry is not a failure");

    one.expires_at = Some(end.after(Duration::from_secs(1)));
    rig.delta(std::slice::from_ref(&one), &[]);
    assert!(rig.keys().contains(&one.public_key), "its expiry was postponed");
    assert_eq!(rig.reconciler.next_expiry(), one.expires_at);

    one.expires_at = Some(end);
    rig.reconciler.round(end.after(Duration::from_secs(2)));
    rig.delta(&[one], &[]);
    assert_eq!(rig.reconciler.next_expiry(), None, "a past expiry must not set a timer");
}

#[test]
fn drift_is_repaired_by_the_next_round() {
    use wgctl::device::plan::ChangeKind::{Create, Remove, Update};
    let (one, two) = (peer(2), peer(3));
    let mut rig = Rig::with(&[one.clone(), two.clone()]);
    let whole = rig.device();
    for change in [
        meddling(Remove, one.public_key, &[]),
        meddling(Create, key(), &["10.77.0.0/16"]),
        meddling(Create, key(), &["10.8.0.3/32"]),
        meddling(Update, one.public_key, &["10.8.0.3/32"]),
        PeerChange {
            persistent_keepalive: Some(9),
            preshared_key: Some(Some(wgctl::PresharedKey::generate().unwrap())),
            ..meddling(Update, two.public_key, &[])
        },
    ] {
        rig.meddle(vec![change.clone()]);
        assert_ne!(rig.device(), whole);
        rig.round();
        assert_eq!(rig.device(), whole, "{change:?}");
        assert!(rig.reconciler.verdict().is_clean());
    }
    rig.devices.delete(&name());
    rig.round();
    assert_eq!(rig.device(), whole, "after the link was deleted");
    rig.devices.delete(&name());
    rig.delta(&[], &[two]);
    assert_eq!(rig.keys(), keys(&[&one]), "after the link was deleted before a delta");
}

#[test]
fn another_incarnation_of_the_database_replaces_everything_and_restarts_revisions() {
    let (one, two) = (peer(2), peer(3));
    let mut rig = Rig::with(std::slice::from_ref(&one));
    rig.delta(std::slice::from_ref(&two), &[]);
    (rig.life, rig.revision) = (Incarnation::random(), 0);
    rig.devices.fail_reads(1);
    rig.take(snapshot(std::slice::from_ref(&two))).unwrap();
    let verdict = rig.reconciler.verdict();
    assert_eq!(
        (verdict.incarnation, verdict.revision),
        (Some(rig.life), 0),
        "no revision of this incarnation is applied yet"
    );
    assert!(verdict.interface_failed.is_some());
    rig.round();
    assert_eq!(rig.keys(), keys(&[&two]));
    assert_eq!(rig.reconciler.verdict().revision, 1);
}
