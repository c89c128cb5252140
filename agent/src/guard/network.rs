//! The host's own network, without the interface that is managed.
//!
//! Plain data: `host::network` reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::routing::{RouteEntry, Rule};

/// The host's own network. Links are named as `ip link` names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// The policy rules of both families, in the kernel's order.
    pub rules: Vec<Rule>,
    /// The routes of every table that do not lead over the interface, as far as they match a protected address.
    pub routes: Vec<RouteEntry>,
    /// The host's own addresses, with their links.
    pub own: BTreeMap<IpAddr, String>,
    /// The networks of these addresses, with their links.
    pub connected: BTreeMap<IpNet, String>,
    /// The gateways of the default routes, with their links.
    pub gateways: BTreeMap<IpAddr, String>,
    /// The host's resolvers (`nameserver` in `resolv.conf(5)`).
    pub resolvers: BTreeSet<IpAddr>,
    /// Other machines on the links' networks, from the kernel's neighbour table.
    pub neighbours: BTreeMap<IpAddr, String>,
}
