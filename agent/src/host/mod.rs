//! The host side of an interface: everything that `wg-quick` would configure besides WireGuard itself.
//!
//! Owns the link and its addresses, MTU, routes and masquerading, over netlink and with as few writes as
//! possible. `state` computes the differences. It must not touch routes or nftables tables that it did not
//! create, depend on peers or keys, or run a program.

#[cfg(any(test, feature = "doubles"))]
pub mod memory;

mod addresses;
mod nat;
mod network;
mod preview;
mod resolvers;
mod routes;
mod state;

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use wgctl::device::kernel::Kernel;
use wgctl::device::kernel::link::{Link, Route};
use wgctl::name::InterfaceName;
use wgctl::protocol::v1::Interface;

use crate::guard::{Judgement, Network};
#[cfg(any(test, feature = "doubles"))]
pub use memory::Memory;
pub(crate) use nat::table;
pub(crate) use routes::PROTOCOL as ROUTE_PROTOCOL;
pub use state::{Difference, HostState, Masquerade};
/// The error type is shared with the device, because both kinds of error come from the same kernel.
pub use wgctl::device::Error;

/// The desired host side of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The name of the link.
    pub name: InterfaceName,
    /// The link's own addresses, each with the prefix length of its network.
    pub addresses: Vec<IpNet>,
    /// The link's MTU; `None` leaves it as it is.
    pub mtu: Option<u16>,
    /// The networks behind the link's peers.
    pub routes: BTreeSet<IpNet>,
    /// The networks whose traffic leaves with the host's own source address; empty to disable masquerading.
    pub masquerade: Vec<IpNet>,
}

impl Spec {
    /// Returns the desired host side for a server's record, with these routes.
    #[must_use]
    pub fn of(interface: &Interface, routes: BTreeSet<IpNet>) -> Self {
        let Interface {
            name,
            addresses,
            mtu,
            masquerade,
            // This belongs to WireGuard.
            listen_port: _,
            // These need no configuration on the host.
            ping_target: _,
            drift: _,
        } = interface;
        let networks = addresses.iter().map(IpNet::trunc);
        Self {
            name: name.clone(),
            addresses: addresses.clone(),
            mtu: *mtu,
            routes,
            masquerade: networks.filter(|_| *masquerade).collect(),
        }
    }

    /// Returns the networks that need a route. The networks of the interface's own addresses get theirs from the kernel.
    #[must_use]
    pub fn wanted_routes(&self) -> BTreeSet<IpNet> {
        routes::wanted(self)
    }

    /// Returns the spec without the parts that the guard refuses.
    #[must_use]
    pub fn without(mut self, refused: &Judgement) -> Self {
        self.addresses
            .retain(|address| !refused.addresses.contains_key(address));
        self.routes.retain(|network| !refused.networks.contains_key(network));
        let Self {
            addresses, masquerade, ..
        } = &mut self;
        masquerade.retain(|network| addresses.iter().any(|address| address.trunc() == *network));
        self
    }
}

/// The outcome of a series of repairs.
#[derive(Debug)]
pub struct RepairOutcome {
    /// The state after the repairs.
    pub state: HostState,
    /// The number of writes sent to the kernel; 0 if there was nothing to do.
    pub writes: u32,
    /// The reason why something could not be repaired.
    pub trouble: Option<Error>,
}

/// The host as the reconciler sees it. All calls block.
pub trait Host: Send {
    /// Returns the index of the link, whatever its kind; `None` if there is no such link.
    fn index(&mut self, name: &InterfaceName) -> Result<Option<u32>, Error>;

    /// Creates the WireGuard link. Returns true if the link was created and false if it already existed. Returns
    /// an error if a link of another kind has the name.
    fn create_link(&mut self, name: &InterfaceName) -> Result<bool, Error>;

    /// Deletes the WireGuard link and everything on it; does nothing if there is none.
    fn delete_link(&mut self, name: &InterfaceName) -> Result<(), Error>;

    /// Returns the current state of everything in `spec`, or an error if there is no link.
    fn read(&mut self, spec: &Spec) -> Result<HostState, Error>;

    /// Returns the host's network without the interface. Of the routes through a gateway, it contains only the default
    /// routes and those that match one of `addresses`.
    fn network(&mut self, name: &InterfaceName, addresses: &[IpAddr]) -> Result<Network, Error>;

    /// Repairs these differences, and continues if one of the repairs fails. Returns the number of writes.
    fn repair(&mut self, spec: &Spec, differences: &BTreeSet<Difference>) -> Result<u32, Error>;

    /// Removes the masquerading and leaves the interface running.
    fn release(&mut self, name: &InterfaceName) -> Result<(), Error>;

    /// Repairs everything that differs from `spec` and that `may` allows, starting from the state `shown`.
    ///
    /// Reads the state again after each pass, because the kernel may drop other addresses and routes of a link
    /// together with a removed address. Ends when a pass changes nothing.
    fn settle(
        &mut self,
        spec: &Spec,
        mut shown: HostState,
        may: &mut dyn FnMut(&Difference) -> bool,
    ) -> Result<RepairOutcome, Error> {
        let (mut writes, mut trouble, mut before) = (0, None, BTreeSet::new());
        loop {
            let mut differences = shown.differences(spec);
            differences.retain(&mut *may);
            if differences.is_empty() || differences == before {
                return Ok(RepairOutcome {
                    state: shown,
                    writes,
                    trouble,
                });
            }
            match self.repair(spec, &differences) {
                Ok(made) => {
                    writes += made;
                    trouble = None;
                }
                Err(error) => trouble = Some(error),
            }
            before = differences;
            shown = self.read(spec)?;
        }
    }

    /// Repairs every difference from `spec`. Returns the number of writes sent to the kernel.
    fn configure(&mut self, spec: &Spec) -> Result<u32, Error> {
        let shown = self.read(spec)?;
        let settled = self.settle(spec, shown, &mut |_| true)?;
        settled.trouble.map_or(Ok(settled.writes), Err)
    }
}

/// The host side in the kernel, in the network namespace of the thread that opened it.
pub struct Netlink {
    kernel: Kernel,
    route: Route,
}

impl Netlink {
    /// Opens the sockets.
    pub fn open() -> Result<Self, Error> {
        Ok(Self {
            kernel: Kernel::open()?,
            route: Route::open()?,
        })
    }

    fn link(&self, name: &InterfaceName) -> Result<Link, Error> {
        self.route.link(name)?.ok_or_else(|| Error::NoInterface(name.clone()))
    }

    /// Returns the current state of this link.
    fn look(&self, link: &Link, spec: &Spec) -> Result<HostState, Error> {
        let routes = routes::read(&self.route, link, &spec.name)?;
        let ours = routes.iter().filter(|(_, message)| routes::is_ours(message));
        // A link that went down before the routes were read has lost them: it is down, and no route was removed.
        let later = self.route.link(&spec.name)?.filter(|later| later.index == link.index);
        Ok(HostState {
            index: link.index,
            mtu: link.mtu,
            up: link.up && later.is_some_and(|later| later.up),
            addresses: addresses::read(&self.route, link, spec)?.into_keys().collect(),
            our_routes: ours.map(|(network, _)| *network).collect(),
            routes: routes.into_keys().collect(),
            masquerade: nat::shown(&spec.name),
        })
    }
}

impl Host for Netlink {
    fn index(&mut self, name: &InterfaceName) -> Result<Option<u32>, Error> {
        Ok(self.route.link(name)?.map(|link| link.index))
    }

    fn create_link(&mut self, name: &InterfaceName) -> Result<bool, Error> {
        self.route.create_wireguard(name)
    }

    fn delete_link(&mut self, name: &InterfaceName) -> Result<(), Error> {
        self.route.delete_wireguard(&mut self.kernel, name)
    }

    fn read(&mut self, spec: &Spec) -> Result<HostState, Error> {
        self.look(&self.link(&spec.name)?, spec)
    }

    fn network(&mut self, name: &InterfaceName, addresses: &[IpAddr]) -> Result<Network, Error> {
        let ours = self.route.link(name)?.map(|link| link.index);
        network::read(&self.route, ours, addresses)
    }

    fn repair(&mut self, spec: &Spec, differences: &BTreeSet<Difference>) -> Result<u32, Error> {
        let link = self.link(&spec.name)?;
        let differs = |what: &Difference| differences.contains(what);
        // Each step is tried even if a previous one failed: an address that the host refuses (for example,
        // because IPv6 is disabled) must not keep the link down.
        let mut steps = vec![addresses::repair(&self.route, &link, spec, differences)];
        if let Some(mtu) = spec.mtu.filter(|_| differs(&Difference::Mtu(link.mtu))) {
            steps.push(self.route.set_mtu(&spec.name, link.index, u32::from(mtu)).map(|()| 1));
        }
        // Masquerading is set up before the first packet can be forwarded.
        if differs(&Difference::Masquerade) {
            steps.push(nat::configure(spec));
        }
        if differs(&Difference::Down) {
            steps.push(self.route.set_up(&spec.name, link.index).map(|()| 1));
        }
        steps.push(routes::repair(&self.route, &link, spec, differences));
        steps.into_iter().sum()
    }

    fn release(&mut self, name: &InterfaceName) -> Result<(), Error> {
        nat::remove(name).map(drop)
    }
}
