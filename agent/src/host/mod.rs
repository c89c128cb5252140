//! The host side of an interface: what `wg-quick` would do beside WireGuard itself.
//!
//! Owns the link, its addresses, MTU, routes and masquerading, over netlink and in the least
//! number of writes. It must not touch what it did not make, know peers or keys, or run a program.

pub mod memory;

mod addresses;
mod nat;
mod preview;
mod routes;

use std::collections::BTreeSet;

use ipnet::IpNet;
use wgctl::device::kernel::Kernel;
use wgctl::device::kernel::link::{Link, Route};
use wgctl::name::InterfaceName;
use wgctl::protocol::v1::Interface;

pub use memory::Memory;
/// The host's errors are the device's: both come from the same kernel.
pub use wgctl::device::Error;

/// An interface as the host should have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The link's name.
    pub name: InterfaceName,
    /// Its own addresses, each with the prefix length of its network.
    pub addresses: Vec<IpNet>,
    /// Its MTU; none to leave it as it is.
    pub mtu: Option<u16>,
    /// Networks behind its peers.
    pub routes: BTreeSet<IpNet>,
    /// Networks whose traffic leaves under the host's own address; empty for none.
    pub masquerade: Vec<IpNet>,
}

impl Spec {
    /// What a server's record asks of its host, with these routes.
    #[must_use]
    pub fn of(interface: &Interface, routes: BTreeSet<IpNet>) -> Self {
        let networks = interface.addresses.iter().map(IpNet::trunc);
        Self {
            name: interface.name.clone(),
            addresses: interface.addresses.clone(),
            mtu: interface.mtu,
            routes,
            masquerade: networks.filter(|_| interface.masquerade).collect(),
        }
    }
}

/// What the reconciler asks of the host. Calls block.
pub trait Host: Send {
    /// Makes the WireGuard link. True if it was made now, false if it was there; an error that says
    /// so if a link of another kind has the name.
    fn create_link(&mut self, name: &InterfaceName) -> Result<bool, Error>;

    /// Deletes the WireGuard link and everything on it; nothing to do if there is none.
    fn delete_link(&mut self, name: &InterfaceName) -> Result<(), Error>;

    /// Makes addresses, MTU, state, routes and masquerading as `spec` says. Gives the number of
    /// writes sent to the kernel: 0 when all was as it should be.
    fn configure(&mut self, spec: &Spec) -> Result<u32, Error>;

    /// Takes back the masquerading and leaves the interface running.
    fn release(&mut self, name: &InterfaceName) -> Result<(), Error>;
}

/// The kernel's host side, in the network namespace of the thread that opened it.
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
}

impl Host for Netlink {
    fn create_link(&mut self, name: &InterfaceName) -> Result<bool, Error> {
        self.route.create_wireguard(name)
    }

    fn delete_link(&mut self, name: &InterfaceName) -> Result<(), Error> {
        self.route.delete_wireguard(&mut self.kernel, name)
    }

    fn configure(&mut self, spec: &Spec) -> Result<u32, Error> {
        let link = self.link(&spec.name)?;
        // Each step is tried though one before it failed: an address the host does not want (IPv6
        // switched off) must not keep the link down.
        let mut steps = vec![addresses::configure(&self.route, &link, spec)];
        if let Some(mtu) = spec.mtu.map(u32::from).filter(|mtu| *mtu != link.mtu) {
            steps.push(self.route.set_mtu(&spec.name, link.index, mtu).map(|()| 1));
        }
        // Masquerading stands before the first packet can be forwarded.
        steps.push(nat::configure(spec));
        if !link.up {
            steps.push(self.route.set_up(&spec.name, link.index).map(|()| 1));
        }
        steps.push(routes::configure(&self.route, &link, spec));
        steps.into_iter().sum()
    }

    fn release(&mut self, name: &InterfaceName) -> Result<(), Error> {
        nat::remove(name).map(drop)
    }
}
