//! WireGuard interfaces in memory: a stateful double of the kernel for tests.
//!
//! Owns the kernel's semantics as observed, so that tests can check the resulting state. An allowed IP belongs to
//! one peer and moves without notice, updates of unknown peers are acknowledged and do nothing, and a refused message
//! leaves the earlier ones in effect. It must not be more lenient than the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;

use super::backend::{Backend, Error};
use super::model::{Device, Peer};
use super::plan::{ChangeKind, PeerChange, Plan};
use crate::address;
use crate::key::PublicKey;
use crate::name::InterfaceName;
use crate::time::Timestamp;

/// `EADDRINUSE` (`asm-generic/errno.h`).
const EADDRINUSE: i32 = 98;
/// `EINVAL`.
const EINVAL: i32 = 22;

/// Interfaces, keyed by name. Clones share them: a test keeps one clone and inspects it while the code under test
/// uses the other.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    interfaces: BTreeMap<InterfaceName, Interface>,
    refused_peers: BTreeSet<PublicKey>,
    taken_ports: BTreeSet<u16>,
    failing_reads: u32,
    writes: u64,
    made: u32,
}

#[derive(Debug, Default)]
struct Interface {
    index: u32,
    device: Device,
    /// The peer to which each network belongs; there is only one.
    owners: BTreeMap<IpNet, PublicKey>,
}

impl Memory {
    /// Creates a backend without any interfaces.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates an empty interface. Returns false if there already was one with this name.
    pub fn create(&self, name: &InterfaceName) -> bool {
        let mut state = self.state();
        let made = !state.interfaces.contains_key(name);
        if made {
            state.made += 1;
            let index = state.made;
            let interface = Interface {
                index,
                ..Interface::default()
            };
            state.interfaces.insert(name.clone(), interface);
        }
        made
    }

    /// Returns the interface's index, which no other interface has ever had, or `None` if there is no
    /// interface with this name.
    #[must_use]
    pub fn index(&self, name: &InterfaceName) -> Option<u32> {
        self.state().interfaces.get(name).map(|interface| interface.index)
    }

    /// Removes an interface with everything on it. Returns false if there was none.
    pub fn delete(&self, name: &InterfaceName) -> bool {
        self.state().interfaces.remove(name).is_some()
    }

    /// Returns the current state of the interface, or `None` if there is none with this name.
    #[must_use]
    pub fn device(&self, name: &InterfaceName) -> Option<Device> {
        self.state()
            .interfaces
            .get(name)
            .map(|interface| interface.device.clone())
    }

    /// Returns the number of non-empty plans that were applied, including failed ones.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.state().writes
    }

    /// Makes the kernel refuse all changes that mention this peer, except its removal.
    pub fn refuse(&self, peer: PublicKey) {
        self.state().refused_peers.insert(peer);
    }

    /// Ends the effect of `refuse`.
    pub fn accept(&self, peer: &PublicKey) {
        self.state().refused_peers.remove(peer);
    }

    /// Pretends that another socket holds this UDP port.
    pub fn take_port(&self, port: u16) {
        self.state().taken_ports.insert(port);
    }

    /// Makes the next `count` reads fail.
    pub fn fail_reads(&self, count: u32) {
        self.state().failing_reads = count;
    }

    /// Sets a peer's byte counters, as traffic would. Returns false if there is no such peer.
    pub fn set_counters(&self, name: &InterfaceName, peer: &PublicKey, rx_bytes: u64, tx_bytes: u64) -> bool {
        self.with_peer(name, peer, |peer| {
            peer.rx_bytes = rx_bytes;
            peer.tx_bytes = tx_bytes;
        })
    }

    /// Sets a peer's latest handshake. Returns false if there is no such peer.
    pub fn set_handshake(&self, name: &InterfaceName, peer: &PublicKey, at: Timestamp) -> bool {
        self.with_peer(name, peer, |peer| peer.latest_handshake = Some(at))
    }

    fn with_peer(&self, name: &InterfaceName, peer: &PublicKey, change: impl FnOnce(&mut Peer)) -> bool {
        let mut state = self.state();
        let interface = state.interfaces.get_mut(name);
        let found = interface.and_then(|interface| interface.device.peers.get_mut(peer));
        found.map(change).is_some()
    }
}

impl Backend for Memory {
    fn read(&mut self, interface: &InterfaceName) -> Result<Option<Device>, Error> {
        let mut state = self.state();
        if state.failing_reads > 0 {
            state.failing_reads -= 1;
            return Err(Error::Io {
                what: format!("reading {interface}"),
                source: std::io::ErrorKind::TimedOut.into(),
            });
        }
        Ok(state.interfaces.get(interface).map(|found| found.device.clone()))
    }

    fn apply(&mut self, name: &InterfaceName, plan: &Plan) -> Result<(), Error> {
        if plan.is_empty() {
            return Ok(());
        }
        let mut state = self.state();
        state.writes += 1;
        let State {
            interfaces,
            refused_peers,
            taken_ports,
            failing_reads: _,
            writes: _,
            made: _,
        } = &mut *state;
        let interface = interfaces
            .get_mut(name)
            .ok_or_else(|| Error::NoInterface(name.clone()))?;
        interface.set_device(name, plan, taken_ports)?;
        for change in &plan.peers {
            if change.kind != ChangeKind::Remove && refused_peers.contains(&change.public_key) {
                return Err(refused(name, &format!("peer {}", change.public_key), EINVAL));
            }
            interface.set_peer(change);
        }
        Ok(())
    }
}

impl Interface {
    /// Sets mark, port and key, in the order of `wg_set_device` (`drivers/net/wireguard/netlink.c`).
    fn set_device(&mut self, name: &InterfaceName, plan: &Plan, taken: &BTreeSet<u16>) -> Result<(), Error> {
        let Plan {
            private_key,
            listen_port,
            fwmark,
            peers: _,
        } = plan;
        if let Some(mark) = *fwmark {
            self.device.fwmark = mark;
        }
        if let Some(port) = *listen_port {
            if taken.contains(&port) {
                return Err(refused(name, &format!("port {port}"), EADDRINUSE));
            }
            self.device.listen_port = port;
        }
        if let Some(key) = private_key {
            self.remove(&key.public_key());
            self.device.private_key = Some(key.clone());
        }
        Ok(())
    }

    fn set_peer(&mut self, change: &PeerChange) {
        let PeerChange {
            public_key,
            kind,
            preshared_key,
            persistent_keepalive,
            endpoint,
            replace_allowed_ips,
            allowed_ips,
        } = change;
        let key = *public_key;
        let own = self.device.private_key.as_ref().map(crate::PrivateKey::public_key);
        let unknown = !self.device.peers.contains_key(&key);
        if own == Some(key) || (*kind == ChangeKind::Update && unknown) {
            return;
        }
        if *kind == ChangeKind::Remove {
            self.remove(&key);
            return;
        }
        let peer = self.device.peers.entry(key).or_default();
        if let Some(preshared) = preshared_key {
            peer.preshared_key.clone_from(preshared);
        }
        if let Some(endpoint) = endpoint {
            peer.endpoint = Some(*endpoint);
        }
        if let Some(seconds) = persistent_keepalive {
            peer.persistent_keepalive = *seconds;
        }
        if *replace_allowed_ips {
            peer.allowed_ips.clear();
            self.owners.retain(|_, owner| *owner != key);
        }
        for net in allowed_ips {
            self.grant(key, address::normal(*net));
        }
    }

    fn grant(&mut self, key: PublicKey, net: IpNet) {
        let before = self.owners.insert(net, key).filter(|owner| *owner != key);
        if let Some(loser) = before.and_then(|owner| self.device.peers.get_mut(&owner)) {
            loser.allowed_ips.remove(&net);
        }
        if let Some(winner) = self.device.peers.get_mut(&key) {
            winner.allowed_ips.insert(net);
        }
    }

    fn remove(&mut self, key: &PublicKey) {
        for net in self
            .device
            .peers
            .remove(key)
            .into_iter()
            .flat_map(|peer| peer.allowed_ips)
        {
            self.owners.remove(&net);
        }
    }
}

fn refused(name: &InterfaceName, what: &str, errno: i32) -> Error {
    Error::Refused {
        what: format!("setting {what} on {name}"),
        message: std::io::Error::from_raw_os_error(errno).to_string(),
        errno,
    }
}
