//! The addresses that the host must be able to reach.
//!
//! Plain data, and the words for an address in the reason for a refusal.

use std::collections::BTreeSet;
use std::net::IpAddr;

/// An address that the host must be able to reach without the tunnel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Protected {
    /// The address.
    pub address: IpAddr,
    /// The reason for its protection.
    pub role: Role,
}

/// The reason why an address is protected.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A plane, by the host of its URL.
    Plane(String),
    /// A gateway, by the name of the link on which it is.
    Gateway(String),
    /// A resolver of the host (`nameserver` of `resolv.conf(5)`).
    Resolver,
}

impl Protected {
    /// The address and its role, for people: `192.0.2.7, an address of the plane plane.example.com`.
    #[must_use]
    pub fn words(&self) -> String {
        let address = self.address;
        match &self.role {
            Role::Plane(host) if *host == address.to_string() => format!("{address}, the plane"),
            Role::Plane(host) => format!("{address}, an address of the plane {host}"),
            Role::Gateway(link) => format!("{address}, the gateway on {link}"),
            Role::Resolver => format!("{address}, a resolver of this host"),
        }
    }
}

/// The planes' addresses and the exceptions. Gateways and resolvers are part of the host's network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Protection {
    /// The planes' addresses.
    pub planes: BTreeSet<Protected>,
    /// Addresses that the host may reach through the interface, because it already does: a plane behind the tunnel.
    pub through_tunnel: BTreeSet<IpAddr>,
    /// Networks whose routes are not judged (`allow_routes` in the agent's configuration).
    pub allowed: Vec<ipnet::IpNet>,
    /// True if every plane's URL contains a name, so that none can be reached without a resolver.
    pub needs_resolver: bool,
}
