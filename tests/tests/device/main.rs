//! Devices and hosts on a real kernel, checked with `wg`, `ip` and `nft`.
//!
//! Each test has its own network namespace. The tests need root and WireGuard in the kernel.

mod crash;
mod drift;
mod host;
mod lookup;
mod model;
mod peers;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::IpNet;
use sentrazone_agent::host::{Host as _, Netlink};
use sentrazone_tests::netns::Netns;
use wgctl::device::kernel::Kernel;
use wgctl::device::plan::plan;
use wgctl::device::{Backend as _, DesiredDevice, DesiredPeer, Device, Plan, Scope};
use wgctl::name::InterfaceName;
use wgctl::{PrivateKey, PublicKey};

/// The namespace of the test's thread, with sockets opened in it.
struct Lab {
    namespace: Netns,
    kernel: Kernel,
    host: Netlink,
    name: InterfaceName,
}

impl Lab {
    fn new() -> Self {
        let namespace = Netns::new();
        namespace.enter();
        Self {
            namespace,
            kernel: Kernel::open().unwrap(),
            host: Netlink::open().unwrap(),
            name: "wg0".parse().unwrap(),
        }
    }

    /// Creates a lab with an empty WireGuard interface.
    fn with_interface() -> Self {
        let mut lab = Self::new();
        assert!(lab.host.create_link(&lab.name).unwrap());
        lab
    }

    fn read(&mut self) -> Device {
        self.kernel.read(&self.name).unwrap().unwrap()
    }

    fn plan(&mut self, desired: &DesiredDevice) -> Plan {
        plan(desired, &self.read(), &Scope::All)
    }

    /// Applies the desired state, and checks that a second plan is empty.
    fn converge(&mut self, desired: &DesiredDevice) {
        let first = self.plan(desired);
        self.kernel.apply(&self.name, &first).unwrap();
        assert!(self.plan(desired).is_empty(), "the second plan is not empty");
    }

    /// Returns the peers that `wg` shows, keyed by public key.
    fn shown(&self) -> BTreeMap<String, Shown> {
        let dump = self.namespace.exec(&["wg", "show", self.name.as_str(), "dump"]);
        dump.lines().skip(1).map(Shown::parse).collect()
    }

    fn wg(&self, what: &str) -> String {
        let printed = self.namespace.exec(&["wg", "show", self.name.as_str(), what]);
        printed.trim().to_owned()
    }
}

/// A peer as `wg show dump` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    preshared_key: String,
    endpoint: String,
    allowed_ips: BTreeSet<String>,
    keepalive: String,
}

impl Shown {
    fn parse(line: &str) -> (String, Self) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [key, preshared_key, endpoint, allowed_ips, _, _, _, keepalive] = columns[..] else {
            panic!("not eight columns: {line:?}")
        };
        let shown = Self {
            preshared_key: preshared_key.to_owned(),
            endpoint: endpoint.to_owned(),
            allowed_ips: allowed_ips.split(',').map(str::to_owned).collect(),
            keepalive: keepalive.to_owned(),
        };
        (key.to_owned(), shown)
    }
}

fn key(n: u32) -> PublicKey {
    let mut bytes = [9; 32];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    PublicKey::from_bytes(bytes).unwrap()
}

/// Returns the nth address in 10.0.0.0/8.
fn address(n: u32) -> IpNet {
    IpNet::new(Ipv4Addr::from(0x0a00_0000 + n).into(), 32).unwrap()
}

fn peer(nets: impl IntoIterator<Item = IpNet>) -> DesiredPeer {
    DesiredPeer {
        allowed_ips: nets.into_iter().collect(),
        ..DesiredPeer::default()
    }
}

fn desired(peers: impl IntoIterator<Item = (u32, DesiredPeer)>) -> DesiredDevice {
    DesiredDevice {
        private_key: PrivateKey::from_bytes([8; 32]),
        listen_port: None,
        fwmark: None,
        peers: peers.into_iter().map(|(n, peer)| (key(n), peer)).collect(),
    }
}
