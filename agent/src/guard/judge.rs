//! The judgement on a desired host side: the parts of it that would cut the host off.
//!
//! Owns that decision, which compares route lookups without and with the interface. It must not read or change the
//! host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::network::Network;
use super::protected::{Protected, Protection, Role};
use super::routing::{MAIN_TABLE, Path, RouteEntry, lookup};

/// The index that stands for our link, which may not exist yet.
const OUR_LINK: u32 = u32::MAX;
/// `IP6_RT_PRIO_USER` of `linux/ipv6_route.h`: the metric of an IPv6 route that was added without one.
const IPV6_METRIC: u32 = 1024;
/// `IP6_RT_PRIO_ADDRCONF` of `linux/ipv6_route.h`: the metric of the route that comes with an IPv6 address.
const IPV6_CONNECTED_METRIC: u32 = 256;

/// The host side that is to be judged.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The addresses of the interface, each with the prefix length of its network.
    pub addresses: &'a [IpNet],
    /// The networks to be routed over it.
    pub routes: &'a BTreeSet<IpNet>,
    /// The addresses that it has already.
    pub present: &'a BTreeSet<IpNet>,
}

/// The parts that are refused or doubtful, with the reasons.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Addresses that the interface must not get, and must lose if it has them.
    pub addresses: BTreeMap<IpNet, String>,
    /// Networks that must not be routed over the interface or be among a peer's allowed IPs.
    pub networks: BTreeMap<IpNet, String>,
    /// Routes that carry packets to a resolver, and are not refused.
    pub doubtful: BTreeMap<IpNet, String>,
}

/// A route that a wanted part brings along.
struct Candidate {
    entry: RouteEntry,
    part: Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Address(IpNet),
    Network(IpNet),
}

impl Judgement {
    /// Judges `wanted` for a host whose own network, without the interface, is `network`.
    #[must_use]
    pub fn of(network: &Network, protection: &Protection, wanted: Wanted<'_>) -> Self {
        let mut judgement = Self::default();
        let protected = protected(network, protection);
        for address in wanted.addresses {
            if let Some(reason) = taken(network, &protected, address, wanted.present.contains(address)) {
                judgement.addresses.insert(*address, reason);
            }
        }
        let mut candidates = candidates(&judgement, protection, wanted, &protected);
        for address in &protected {
            // Each refusal may uncover a shorter prefix that leads the same way.
            while let Some(part) = captured(network, &candidates, address.address) {
                if !judgement.refuse(part, address, protection) {
                    break;
                }
                candidates.retain(|candidate| candidate.part != part);
            }
        }
        judgement
    }

    /// Logs what `previous` did not contain.
    pub(super) fn log(&self, previous: &Self) {
        let Self {
            addresses,
            networks,
            doubtful,
        } = self;
        for (address, reason) in addresses
            .iter()
            .filter(|(address, _)| !previous.addresses.contains_key(address))
        {
            tracing::error!("the address {address} is refused, to protect this host: {reason}");
        }
        for (network, reason) in networks
            .iter()
            .filter(|(network, _)| !previous.networks.contains_key(network))
        {
            tracing::error!("the network {network} is refused, to protect this host: {reason}");
        }
        for (_, reason) in doubtful
            .iter()
            .filter(|(network, _)| !previous.doubtful.contains_key(network))
        {
            tracing::warn!("{reason}");
        }
    }

    /// Returns the reasons why some of a peer's networks are refused, in one text; `None` if none is.
    #[must_use]
    pub fn refusal<'n>(&self, networks: impl Iterator<Item = &'n IpNet>) -> Option<String> {
        let reasons: Vec<&str> = networks
            .filter_map(|network| self.networks.get(network))
            .map(String::as_str)
            .collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// Notes that `part` leads to `lost`. Returns whether it is refused, and not only doubtful.
    fn refuse(&mut self, part: Part, lost: &Protected, protection: &Protection) -> bool {
        let lost_words = lost.words();
        match part {
            Part::Address(address) => {
                let reason = format!(
                    "with the address {address} this host would send its packets for {lost_words} into the tunnel: \
                     choose another pool"
                );
                self.addresses.insert(address, reason);
            }
            Part::Network(network) if lost.role == Role::Resolver && !protection.needs_resolver => {
                let reason = format!("the route to {network} leads to {lost_words} through the tunnel");
                self.doubtful.insert(network, reason);
                return false;
            }
            Part::Network(network) => {
                let reason = format!(
                    "a route to {network} would send this host's packets for {lost_words} into the tunnel: leave that \
                     address out of the peer's networks, or, if the host is to reach it through the tunnel, add \
                     {network} to allow_routes in its agent.toml"
                );
                self.networks.insert(network, reason);
            }
        }
        true
    }
}

/// Returns the addresses that the host must be able to reach without the tunnel.
fn protected(network: &Network, protection: &Protection) -> BTreeSet<Protected> {
    let gateways = network.gateways.iter().map(|(address, link)| Protected {
        address: *address,
        role: Role::Gateway(link.clone()),
    });
    let resolvers = network.resolvers.iter().map(|address| Protected {
        address: *address,
        role: Role::Resolver,
    });
    let others = resolvers.chain(protection.planes.iter().cloned());
    let kept = others.filter(|protected| !protection.through_tunnel.contains(&protected.address));
    gateways.chain(kept).collect()
}

/// Returns why the host's network already uses an address or its network. An address that the interface already has
/// (`present`) works, and is refused only if it is a protected one.
fn taken(network: &Network, protected: &BTreeSet<Protected>, address: &IpNet, present: bool) -> Option<String> {
    let ip = address.addr();
    if let Some(owner) = protected.iter().find(|protected| protected.address == ip) {
        return Some(format!("{}: choose another pool", owner.words()));
    }
    if present {
        return None;
    }
    if let Some(link) = network.own.get(&ip) {
        return Some(format!(
            "{ip} is this host's own address on {link}: choose another pool"
        ));
    }
    if let Some(link) = network.neighbours.get(&ip) {
        return Some(format!(
            "{ip} is in use by another machine on {link}: choose another pool"
        ));
    }
    let pool = address.trunc();
    let inside =
        |(connected, _): &(&IpNet, &String)| pool.prefix_len() < pool.max_prefix_len() && connected.contains(&pool);
    let (connected, link) = network.connected.iter().find(inside)?;
    Some(match *connected == pool {
        true => format!("{pool} is this host's own network on {link}: choose another pool"),
        false => format!("{pool} is part of {connected}, this host's own network on {link}: choose another pool"),
    })
}

/// Returns the routes that the wanted parts bring along and that match a protected address.
fn candidates(
    judgement: &Judgement,
    protection: &Protection,
    wanted: Wanted<'_>,
    protected: &BTreeSet<Protected>,
) -> Vec<Candidate> {
    let accepted = wanted
        .addresses
        .iter()
        .filter(|address| !judgement.addresses.contains_key(address));
    let connected = accepted.map(|address| candidate(Part::Address(*address), address.trunc(), IPV6_CONNECTED_METRIC));
    let is_allowed = |network: &IpNet| protection.allowed.iter().any(|allowed| allowed.contains(network));
    let judged = wanted.routes.iter().filter(|network| !is_allowed(network));
    let routed = judged.map(|network| candidate(Part::Network(*network), network.trunc(), IPV6_METRIC));
    let concerns = |candidate: &Candidate| {
        protected
            .iter()
            .any(|protected| candidate.entry.network.contains(&protected.address))
    };
    connected.chain(routed).filter(concerns).collect()
}

fn candidate(part: Part, network: IpNet, ipv6_metric: u32) -> Candidate {
    let metric = match network {
        IpNet::V4(_) => 0,
        IpNet::V6(_) => ipv6_metric,
    };
    let path = Path::Link {
        index: OUR_LINK,
        gateway: None,
    };
    Candidate {
        entry: RouteEntry {
            table: MAIN_TABLE,
            network,
            metric,
            path,
        },
        part,
    }
}

/// Returns the part whose route the kernel would choose for `address`; `None` if it would choose another route.
fn captured(network: &Network, candidates: &[Candidate], address: IpAddr) -> Option<Part> {
    let entries = candidates.iter().map(|candidate| &candidate.entry);
    let found = lookup(&network.rules, network.routes.iter().chain(entries), address)?;
    candidates
        .iter()
        .find(|candidate| std::ptr::eq(&raw const candidate.entry, found))
        .map(|candidate| candidate.part)
}

/// Returns true if the kernel would choose one of `routes`, which lead over the interface, for `address`.
#[must_use]
pub fn leads_through(network: &Network, routes: &BTreeSet<IpNet>, address: IpAddr) -> bool {
    let matching = routes.iter().filter(|route| route.contains(&address));
    let candidates: Vec<Candidate> = matching
        .map(|route| candidate(Part::Network(*route), route.trunc(), IPV6_METRIC))
        .collect();
    captured(network, &candidates, address).is_some()
}
