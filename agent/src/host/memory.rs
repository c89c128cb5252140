//! The host side in memory: a stateful test double for the reconciler.
//!
//! Owns the configured host state. It creates and deletes interfaces in the double for the device, so that the two
//! agree, as they do in a real kernel. It must not be more lenient than `Netlink`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wgctl::device::memory::Memory as Devices;
use wgctl::name::InterfaceName;

use crate::guard::Network;

use super::{Difference, Error, Host, HostState, Spec, nat, routes};

/// The MTU that the kernel assigns to a WireGuard link.
const MTU: u32 = 1420;
/// The index of a link of another kind.
const FOREIGN: u32 = u32::MAX;

/// A host in memory. Clones share its state, so that a test can keep one to inspect the host.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    devices: Devices,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// The states of the links, by index, so that a state disappears with its link. The masquerading table does
    /// not disappear with the link, and is stored by name.
    links: BTreeMap<u32, HostState>,
    tables: BTreeMap<InterfaceName, super::Masquerade>,
    foreign: BTreeSet<InterfaceName>,
    network: Network,
    failing: u32,
    reads: u32,
    writes: u32,
}

impl Memory {
    /// Creates a host whose WireGuard interfaces are the ones in `devices`.
    #[must_use]
    pub fn new(devices: Devices) -> Self {
        Self {
            devices,
            state: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a link of another kind with this name.
    pub fn add_foreign(&self, name: InterfaceName) {
        self.state().foreign.insert(name);
    }

    /// Changes the host's own network.
    pub fn change_network(&self, change: impl FnOnce(&mut Network)) {
        change(&mut self.state().network);
    }

    /// Makes the next `count` repairs fail.
    pub fn fail_repairs(&self, count: u32) {
        self.state().failing = count;
    }

    /// Returns the state of the interface; `None` if it does not exist.
    #[must_use]
    pub fn shown(&self, name: &InterfaceName) -> Option<HostState> {
        let index = self.devices.index(name)?;
        let state = self.state();
        let mut shown = state.links.get(&index).cloned().unwrap_or_else(|| HostState {
            index,
            mtu: MTU,
            ..HostState::default()
        });
        shown.masquerade = state.tables.get(name).cloned().unwrap_or_default();
        Some(shown)
    }

    /// Changes the interface as another program would.
    pub fn meddle(&self, name: &InterfaceName, change: impl FnOnce(&mut HostState)) {
        let Some(mut shown) = self.shown(name) else { return };
        change(&mut shown);
        self.put(name, shown);
    }

    fn put(&self, name: &InterfaceName, shown: HostState) {
        let mut state = self.state();
        state.tables.insert(name.clone(), shown.masquerade.clone());
        state.links.insert(shown.index, shown);
    }

    /// Returns the number of reads so far.
    #[must_use]
    pub fn reads(&self) -> u32 {
        self.state().reads
    }

    /// Returns the number of writes so far.
    #[must_use]
    pub fn writes(&self) -> u32 {
        self.state().writes
    }
}

impl Host for Memory {
    fn index(&mut self, name: &InterfaceName) -> Result<Option<u32>, Error> {
        let foreign = self.state().foreign.contains(name).then_some(FOREIGN);
        Ok(foreign.or_else(|| self.devices.index(name)))
    }

    fn create_link(&mut self, name: &InterfaceName) -> Result<bool, Error> {
        if self.state().foreign.contains(name) {
            return Err(Error::NotWireguard(name.clone()));
        }
        Ok(self.devices.create(name))
    }

    fn delete_link(&mut self, name: &InterfaceName) -> Result<(), Error> {
        if self.state().foreign.contains(name) {
            return Err(Error::NotWireguard(name.clone()));
        }
        self.devices.delete(name);
        Ok(())
    }

    fn read(&mut self, spec: &Spec) -> Result<HostState, Error> {
        self.state().reads += 1;
        self.shown(&spec.name)
            .ok_or_else(|| Error::NoInterface(spec.name.clone()))
    }

    fn network(&mut self, _: &InterfaceName, _: &[IpAddr]) -> Result<Network, Error> {
        Ok(self.state().network.clone())
    }

    fn repair(&mut self, spec: &Spec, differences: &BTreeSet<Difference>) -> Result<u32, Error> {
        let mut shown = self.read(spec)?;
        let mut state = self.state();
        if state.failing > 0 {
            state.failing -= 1;
            return Err(Error::Io {
                what: format!("configuring {}", spec.name),
                source: std::io::ErrorKind::TimedOut.into(),
            });
        }
        let writes = u32::try_from(differences.len()).unwrap_or(u32::MAX);
        state.writes += writes;
        drop(state);
        for difference in differences {
            mend(&mut shown, spec, difference);
        }
        self.put(&spec.name, shown);
        Ok(writes)
    }

    fn release(&mut self, name: &InterfaceName) -> Result<(), Error> {
        self.state().tables.remove(name);
        Ok(())
    }
}

fn mend(shown: &mut HostState, spec: &Spec, difference: &Difference) {
    match difference {
        Difference::AddressMissing(address) => {
            shown.addresses.insert(*address);
            connect(shown);
        }
        Difference::AddressSurplus(address) => {
            shown.addresses.remove(address);
            if !routes::connected(shown.addresses.iter()).contains(&address.trunc()) {
                shown.routes.remove(&address.trunc());
                shown.our_routes.remove(&address.trunc());
            }
            // The kernel drops every IPv4 route over a link together with the link's last IPv4 address.
            if !shown.addresses.iter().any(|address| address.addr().is_ipv4()) {
                shown.routes.retain(|route| route.addr().is_ipv6());
                shown.our_routes.retain(|route| route.addr().is_ipv6());
            }
        }
        Difference::Mtu(_) => shown.mtu = spec.mtu.map_or(shown.mtu, u32::from),
        Difference::Masquerade => shown.masquerade = nat::wanted(spec),
        Difference::Down => {
            shown.up = true;
            connect(shown);
        }
        Difference::RouteMissing(network)
            if routes::wanted(spec)
                .union(&routes::connected(spec.addresses.iter()))
                .any(|wanted| wanted == network) =>
        {
            shown.routes.insert(*network);
            shown.our_routes.insert(*network);
        }
        Difference::RouteMissing(_) => {}
        Difference::RouteSurplus(network) => {
            shown.routes.remove(network);
            shown.our_routes.remove(network);
        }
    }
}

/// Creates the routes to the networks of the addresses, as the kernel does for a link that is up.
fn connect(shown: &mut HostState) {
    if shown.up {
        shown.routes.extend(routes::connected(shown.addresses.iter()));
    }
}
