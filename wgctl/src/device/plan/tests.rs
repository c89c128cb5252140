//! Property tests of the diff, checked against the in-memory model of the kernel.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;
use crate::device::memory::Memory;
use crate::device::{Backend as _, DesiredPeer};
use crate::name::InterfaceName;

fn key(n: u8) -> PublicKey {
    PublicKey::from_bytes([n + 1; 32]).unwrap()
}

fn server_key() -> PrivateKey {
    PrivateKey::from_bytes([7; 32])
}

fn net(n: u8) -> IpNet {
    format!("10.0.0.{n}/32").parse().unwrap()
}

fn wg0() -> InterfaceName {
    "wg0".parse().unwrap()
}

/// Generates a peer's settings without addresses, which are distributed separately so that each belongs to
/// one peer.
fn peer() -> impl Strategy<Value = DesiredPeer> {
    let preshared = proptest::option::of((1u8..3).prop_map(|n| PresharedKey::from_bytes([n; 32]).unwrap()));
    let endpoint = proptest::option::of((1u16..3).prop_map(|port| ([192, 0, 2, 1], port).into()));
    (preshared, 0u16..3, endpoint).prop_map(|(preshared_key, persistent_keepalive, endpoint)| DesiredPeer {
        preshared_key,
        persistent_keepalive,
        allowed_ips: BTreeSet::new(),
        endpoint,
    })
}

/// Generates up to eight peers and up to 24 addresses, each owned by one of them. The numbers are small, so
/// that swaps, chains and cycles of addresses are frequent.
fn peers() -> impl Strategy<Value = BTreeMap<PublicKey, DesiredPeer>> {
    let settings = proptest::collection::btree_map(0u8..8, peer(), 0..8);
    let owners = proptest::collection::btree_map(0u8..24, 0u8..8, 0..24);
    (settings, owners).prop_map(|(settings, owners)| {
        let mut peers: BTreeMap<PublicKey, DesiredPeer> = settings.into_iter().map(|(n, p)| (key(n), p)).collect();
        for (address, owner) in owners {
            if let Some(peer) = peers.get_mut(&key(owner)) {
                peer.allowed_ips.insert(net(address));
            }
        }
        peers
    })
}

fn device() -> impl Strategy<Value = DesiredDevice> {
    let settings = (1u8..3, proptest::option::of(1u16..4), proptest::option::of(0u32..3));
    (peers(), settings).prop_map(|(peers, (n, listen_port, fwmark))| DesiredDevice {
        private_key: PrivateKey::from_bytes([n; 32]),
        listen_port,
        fwmark,
        peers,
    })
}

/// Returns an interface in the state that `desired` describes.
fn memory_with(desired: &DesiredDevice) -> Memory {
    let mut memory = Memory::new();
    memory.create(&wg0());
    let plan = plan(desired, &Device::default(), &Scope::All);
    memory.apply(&wg0(), &plan).unwrap();
    memory
}

fn assert_same(desired: &DesiredDevice, actual: &Device) {
    assert_eq!(actual.private_key.as_ref(), Some(&desired.private_key));
    assert!(desired.listen_port.is_none_or(|port| port == actual.listen_port));
    assert!(desired.fwmark.is_none_or(|mark| mark == actual.fwmark));
    assert!(desired.peers.keys().eq(actual.peers.keys()));
    for (wanted, present) in desired.peers.values().zip(actual.peers.values()) {
        assert_eq!(wanted.preshared_key, present.preshared_key);
        assert_eq!(wanted.persistent_keepalive, present.persistent_keepalive);
        assert_eq!(wanted.allowed_ips, present.allowed_ips);
        assert!(wanted.endpoint.is_none() || wanted.endpoint == present.endpoint);
    }
}

/// Applies the plan step by step. After each step, no peer has an address that it neither had before nor
/// should have.
fn apply_watching(memory: &mut Memory, plan: &Plan, desired: &DesiredDevice) {
    for change in &plan.peers {
        let before = memory.device(&wg0()).unwrap();
        let step = Plan {
            peers: vec![change.clone()],
            ..Plan::default()
        };
        memory.apply(&wg0(), &step).unwrap();
        for (key, peer) in memory.device(&wg0()).unwrap().peers {
            let had = before
                .peers
                .get(&key)
                .map(|p| p.allowed_ips.clone())
                .unwrap_or_default();
            let shall = desired
                .peers
                .get(&key)
                .map(|p| p.allowed_ips.clone())
                .unwrap_or_default();
            assert!(
                peer.allowed_ips
                    .iter()
                    .all(|net| had.contains(net) || shall.contains(net))
            );
        }
    }
    let rest = Plan {
        peers: Vec::new(),
        ..plan.clone()
    };
    memory.apply(&wg0(), &rest).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn applying_the_plan_yields_the_desired_state_and_the_next_plan_is_empty(before in device(), after in device()) {
        let mut memory = memory_with(&before);
        let first = plan(&after, &memory.device(&wg0()).unwrap(), &Scope::All);
        apply_watching(&mut memory, &first, &after);
        let device = memory.device(&wg0()).unwrap();
        assert_same(&after, &device);
        prop_assert!(plan(&after, &device, &Scope::All).is_empty());
    }

    #[test]
    fn unchanged_peers_are_not_mentioned(before in device(), after in device()) {
        let memory = memory_with(&before);
        let planned = plan(&after, &memory.device(&wg0()).unwrap(), &Scope::All);
        for change in &planned.peers {
            let key = change.public_key;
            let mut wanted = after.peers.get(&key).cloned();
            let present = before.peers.get(&key).cloned();
            if let (Some(wanted), Some(present)) = (&mut wanted, &present) && wanted.endpoint.is_none() {
                wanted.endpoint = present.endpoint;
            }
            prop_assert_ne!(wanted, present);
        }
        let mentioned: BTreeSet<_> = planned.peers.iter().map(|change| change.public_key).collect();
        prop_assert_eq!(mentioned.len(), planned.peers.len(), "a peer is mentioned only once");
    }

    #[test]
    fn a_scoped_plan_changes_only_the_peers_in_its_scope(before in device(), after in device(), scope in proptest::collection::vec(0u8..8, 0..4)) {
        let mut memory = memory_with(&before);
        let scope: Vec<_> = scope.into_iter().map(key).collect();
        let first = plan(&after, &memory.device(&wg0()).unwrap(), &Scope::Peers(&scope));
        prop_assert!(first.peers.iter().all(|change| scope.contains(&change.public_key)));
        memory.apply(&wg0(), &first).unwrap();
        let device = memory.device(&wg0()).unwrap();
        for key in &scope {
            let have = device.peers.get(key).map(|peer| &peer.allowed_ips);
            prop_assert_eq!(have, after.peers.get(key).map(|peer| &peer.allowed_ips));
        }
        prop_assert!(plan(&after, &device, &Scope::Peers(&scope)).is_empty());
    }
}

fn desired(peers: &[(u8, &[u8])]) -> DesiredDevice {
    let peer = |nets: &[u8]| DesiredPeer {
        allowed_ips: nets.iter().copied().map(net).collect(),
        ..DesiredPeer::default()
    };
    DesiredDevice {
        private_key: server_key(),
        listen_port: None,
        fwmark: None,
        peers: peers.iter().map(|(n, nets)| (key(*n), peer(nets))).collect(),
    }
}

fn planned(before: &DesiredDevice, after: &DesiredDevice) -> Plan {
    plan(after, &memory_with(before).device(&wg0()).unwrap(), &Scope::All)
}

#[test]
fn swapping_addresses_does_not_replace_any_list() {
    let plan = planned(&desired(&[(1, &[1]), (2, &[2])]), &desired(&[(1, &[2]), (2, &[1])]));
    assert_eq!(plan.peers.len(), 2);
    assert!(plan.peers.iter().all(|change| !change.replace_allowed_ips));
}

#[test]
fn moving_an_address_to_another_peer_requires_only_the_grant() {
    let plan = planned(&desired(&[(1, &[1, 2])]), &desired(&[(1, &[1]), (2, &[2])]));
    let [change] = plan.peers.as_slice() else {
        panic!("{} steps", plan.peers.len())
    };
    assert_eq!((change.public_key, change.kind), (key(2), ChangeKind::Create));
}

#[test]
fn an_address_that_no_peer_gets_is_removed_by_replacing_the_list() {
    let plan = planned(&desired(&[(1, &[1, 2])]), &desired(&[(1, &[1])]));
    let [change] = plan.peers.as_slice() else {
        panic!("{} steps", plan.peers.len())
    };
    assert!(change.replace_allowed_ips);
    assert_eq!(change.allowed_ips, [net(1)]);
}

#[test]
fn the_plan_contains_only_the_changed_setting() {
    let before = desired(&[(1, &[1]), (2, &[2])]);
    let mut after = before.clone();
    after.peers.get_mut(&key(1)).unwrap().persistent_keepalive = 25;
    let expected = PeerChange {
        persistent_keepalive: Some(25),
        ..unchanged(key(1), ChangeKind::Update)
    };
    assert_eq!(planned(&before, &after).peers, [expected]);
}

#[test]
fn a_preshared_key_that_is_no_longer_wanted_is_cleared() {
    let after = desired(&[(1, &[1])]);
    let mut before = after.clone();
    before.peers.get_mut(&key(1)).unwrap().preshared_key = Some(PresharedKey::from_bytes([1; 32]).unwrap());
    let plan = planned(&before, &after);
    assert_eq!(plan.peers.len(), 1);
    assert_eq!(plan.peers[0].preshared_key, Some(None));
}

#[test]
fn the_interfaces_own_key_is_never_mentioned() {
    let mut after = desired(&[(1, &[1])]);
    after.peers.insert(server_key().public_key(), DesiredPeer::default());
    let plan = planned(&desired(&[]), &after);
    assert_eq!(plan.peers.len(), 1);
    assert_eq!(plan.peers[0].public_key, key(1));
}

#[test]
fn an_endpoint_that_the_kernel_has_learned_is_left_alone() {
    let before = {
        let mut device = desired(&[(1, &[1])]);
        device.peers.get_mut(&key(1)).unwrap().endpoint = Some(([192, 0, 2, 9], 9).into());
        device
    };
    assert!(planned(&before, &desired(&[(1, &[1])])).is_empty());
}
