//! An agent that is killed between any two writes to a real kernel.

use std::sync::Mutex;

use sentrazone_tests::crash::{Identity, Record, Stage, Way, killed_everywhere};
use wgctl::protocol::v1::{Interface, Peer};

use super::*;

/// The real kernel, in the namespace of this thread.
struct Real(Lab);

impl Stage for Real {
    type Backend = Kernel;
    type Host = Netlink;

    fn clear(&mut self) {
        let name = self.0.name.clone();
        self.0.host.delete_link(&name).unwrap();
    }

    fn begin(&mut self) -> (Kernel, Netlink) {
        (Kernel::open().unwrap(), Netlink::open().unwrap())
    }

    fn reader(&mut self) -> Box<dyn Fn() -> Option<Device> + Send + Sync> {
        let (kernel, name) = (Mutex::new(Kernel::open().unwrap()), self.0.name.clone());
        Box::new(move || kernel.lock().unwrap().read(&name).unwrap())
    }
}

fn interface(addresses: &[&str], listen_port: u16) -> Interface {
    Interface {
        name: "wg0".parse().unwrap(),
        listen_port,
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        mtu: None,
        masquerade: false,
        ping_target: None,
        drift: wgctl::drift::DriftPolicy::default(),
    }
}

/// Returns a record in which the fleet's peers have these networks, separated by spaces. A dash leaves out the peer.
fn record(fleet: &[Peer], networks: &[&str]) -> Record {
    let there = fleet.iter().zip(networks).filter(|(_, networks)| **networks != "-");
    let peers = there.map(|(peer, networks)| Peer {
        allowed_ips: networks.split_whitespace().map(|net| net.parse().unwrap()).collect(),
        ..peer.clone()
    });
    Record {
        interface: interface(&["10.8.0.1/24"], 51820),
        peers: peers.collect(),
    }
}

fn fleet(identity: &Identity) -> Vec<Peer> {
    let made = (0..4).map(|n| {
        let prekey = identity.secrets.prekey(&identity.server).unwrap();
        Peer {
            id: prekey.id,
            public_key: prekey.public_key,
            preshared_key: (n < 2).then_some(prekey.preshared_key),
            allowed_ips: Vec::new(),
            persistent_keepalive: None,
            expires_at: None,
        }
    });
    made.collect()
}

#[test]
fn the_next_agent_completes_a_change_after_a_kill_at_any_write_to_the_kernel() {
    let identity = Identity::default();
    let fleet = fleet(&identity);
    let four = record(
        &fleet,
        &["10.8.0.2/32", "10.8.0.3/32", "10.8.0.4/32", "10.8.0.5/32 10.50.0.0/16"],
    );
    let mut renumbered = record(&fleet, &["10.9.0.2/32", "10.9.0.3/32", "10.9.0.4/32", "10.9.0.5/32"]);
    renumbered.interface = interface(&["10.9.0.1/24", "fd00:9::1/64"], 51821);
    let mut rekeyed = four.clone();
    for peer in &mut rekeyed.peers[..2] {
        peer.public_key = PrivateKey::generate().unwrap().public_key();
    }
    let cases = [
        ("the first start", None, four.clone()),
        (
            "two peers swapped",
            Some(four.clone()),
            record(
                &fleet,
                &["10.8.0.3/32", "10.8.0.2/32", "10.8.0.4/32", "10.8.0.5/32 10.50.0.0/16"],
            ),
        ),
        (
            "a ring of four",
            Some(four.clone()),
            record(
                &fleet,
                &["10.8.0.3/32", "10.8.0.4/32", "10.8.0.5/32 10.50.0.0/16", "10.8.0.2/32"],
            ),
        ),
        (
            "one peer removed, and its network given to another",
            Some(four.clone()),
            record(&fleet, &["-", "10.8.0.3/32 10.8.0.2/32", "10.8.0.4/32", "10.50.0.0/16"]),
        ),
        ("new keys", Some(four.clone()), rekeyed),
        ("everything renumbered", Some(four.clone()), renumbered),
        ("all peers removed", Some(four), record(&fleet, &["-", "-", "-", "-"])),
    ];
    let mut stage = Real(Lab::new());
    let mut kills = 0;
    for (name, old, new) in cases {
        for way in [Way::Delta, Way::Snapshot] {
            let here = killed_everywhere(&mut stage, &identity, old.as_ref(), &new, way);
            println!("{name} ({way:?}): {here}/{here}");
            kills += here;
        }
    }
    println!("fault: agent killed between any two kernel writes | runs {kills} | lost 0 | {kills}/{kills} complete");
}
