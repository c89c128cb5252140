//! An agent that is killed between any two of its writes, on the in-memory model of the kernel, for many pairs of old
//! and new records.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sentrazone_agent::host;
use sentrazone_tests::crash::{Identity, Record, Stage, Way, killed_everywhere};
use wgctl::PrivateKey;
use wgctl::device::Device;
use wgctl::device::memory::Memory;
use wgctl::protocol::v1::{Interface, Peer};

const PAIRS: u32 = 128;
const PEERS: usize = 6;
const NETS: usize = 9;

/// The in-memory model of the kernel, used as a stage.
struct Modelled(Memory);

impl Stage for Modelled {
    type Backend = Memory;
    type Host = host::Memory;

    fn clear(&mut self) {
        self.0 = Memory::new();
    }

    fn begin(&mut self) -> (Memory, host::Memory) {
        (self.0.clone(), host::Memory::new(self.0.clone()))
    }

    fn reader(&mut self) -> Box<dyn Fn() -> Option<Device> + Send + Sync> {
        let devices = self.0.clone();
        Box::new(move || devices.device(&"wg0".parse().unwrap()))
    }
}

/// A random record: the owner of each network, the peers that exist, the peers that have a new key, and the port. The
/// ranges are small, so that swaps, rings and changes of owner are frequent.
#[derive(Debug, Clone)]
struct Drawn {
    owners: Vec<Option<usize>>,
    there: Vec<bool>,
    second_key: Vec<bool>,
    port: u16,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let owners = proptest::collection::vec(proptest::option::weighted(0.8, 0..PEERS), NETS);
    let there = proptest::collection::vec(proptest::bool::weighted(0.8), PEERS);
    let second_key = proptest::collection::vec(proptest::bool::weighted(0.2), PEERS);
    (owners, there, second_key, 1u16..3).prop_map(|(owners, there, second_key, port)| Drawn {
        owners,
        there,
        second_key,
        port: 51820 + port,
    })
}

/// Creates two versions of every peer, each with its own key. Every second peer has a preshared key.
fn peers(identity: &Identity) -> Vec<[Peer; 2]> {
    let made = (0..PEERS).map(|n| {
        let prekey = identity.secrets.prekey(&identity.server).unwrap();
        let first = Peer {
            id: prekey.id,
            public_key: prekey.public_key,
            preshared_key: (n % 2 == 0).then_some(prekey.preshared_key),
            allowed_ips: Vec::new(),
            persistent_keepalive: None,
            expires_at: None,
        };
        let second = Peer {
            public_key: PrivateKey::generate().unwrap().public_key(),
            ..first.clone()
        };
        [first, second]
    });
    made.collect()
}

fn record(peers: &[[Peer; 2]], drawn: &Drawn) -> Record {
    let present = (0..PEERS).filter(|n| drawn.there[*n]).map(|n| {
        let mut peer = peers[n][usize::from(drawn.second_key[n])].clone();
        let own = drawn.owners.iter().enumerate().filter(|(_, owner)| **owner == Some(n));
        peer.allowed_ips = own
            .map(|(net, _)| format!("10.8.0.{}/32", net + 2).parse().unwrap())
            .collect();
        peer
    });
    Record {
        interface: Interface {
            name: "wg0".parse().unwrap(),
            listen_port: drawn.port,
            addresses: vec!["10.8.0.1/24".parse().unwrap()],
            mtu: None,
            masquerade: false,
            ping_target: None,
            drift: wgctl::drift::DriftPolicy::default(),
        },
        peers: present.collect(),
    }
}

#[test]
fn the_next_agent_completes_a_change_after_a_kill_at_any_write() {
    let identity = Identity::default();
    let peers = peers(&identity);
    let kills = Cell::new(0);
    let mut runner = TestRunner::new(ProptestConfig {
        cases: PAIRS,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let pairs = (proptest::option::weighted(0.9, drawn()), drawn(), any::<bool>());
    let ran = runner.run(&pairs, |(old, new, whole)| {
        let (old, new) = (old.map(|old| record(&peers, &old)), record(&peers, &new));
        let way = if whole { Way::Snapshot } else { Way::Delta };
        let mut stage = Modelled(Memory::new());
        kills.set(kills.get() + killed_everywhere(&mut stage, &identity, old.as_ref(), &new, way));
        Ok(())
    });
    ran.unwrap();
    let kills = kills.get();
    assert!(kills > u64::from(PAIRS), "only {kills} kills: too few writes happened");
    println!(
        "fault: agent killed between any two writes (model, {PAIRS} pairs of records) | runs {kills} | lost 0 | {kills}/{kills} complete"
    );
}
