//! The host's own network, as the guard judges by it.
//!
//! Owns its reading over route netlink: rules, routes, addresses, neighbours. It must not judge or change anything.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt as _;
use ipnet::IpNet;
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteNextHopFlags, RouteType};
use rtnetlink::packet_route::rule::{RuleAction as Action, RuleAttribute, RuleFlags, RuleMessage};
use rtnetlink::{IpVersion, RouteMessageBuilder};
use wgctl::device::kernel::link::Route;

use super::{Error, resolvers};
use crate::guard::network::Network;
use crate::guard::routing::{Path, RouteEntry, Rule, RuleAction, Selector};

/// `LOOPBACK_IFINDEX`'s name: the link from which the host's own packets come, to a rule with `iif`.
const LOOPBACK: &str = "lo";

/// Reads the network of the host without the link with the index `ours`. Of the routes through a gateway, which may be
/// a million, it keeps those to everywhere and those that match one of `addresses`.
pub(super) fn read(route: &Route, ours: Option<u32>, addresses: &[IpAddr]) -> Result<Network, Error> {
    let mut network = Network {
        resolvers: resolvers::read(),
        ..Network::default()
    };
    let addresses: Vec<IpAddr> = addresses.iter().chain(&network.resolvers).copied().collect();
    for version in [IpVersion::V4, IpVersion::V6] {
        let request = route.handle().rule().get(version).execute();
        let rules: Vec<RuleMessage> = route.wait(|| "reading the policy rules".to_owned(), request.try_collect())?;
        network.rules.extend(rules.iter().filter_map(rule));
    }
    let names = link_names(route)?;
    let name = |index: u32| names.get(&index).cloned().unwrap_or_else(|| format!("link {index}"));
    let is_other = |index: u32| Some(index) != ours;
    for message in read_addresses(route)? {
        let index = message.header.index;
        if let Some(address) = super::addresses::address(&message).filter(|_| is_other(index)) {
            network.own.insert(address.addr(), name(index));
            network.connected.insert(address.trunc(), name(index));
        }
    }
    network.routes = read_routes(route, ours, &addresses)?;
    for entry in network.routes.iter().filter(|entry| entry.network.prefix_len() == 0) {
        if let Path::Link {
            index,
            gateway: Some(gateway),
        } = entry.path
        {
            network.gateways.insert(gateway, name(index));
        }
    }
    let request = route.handle().neighbours().get().execute();
    let neighbours: Vec<NeighbourMessage> =
        route.wait(|| "reading the neighbour table".to_owned(), request.try_collect())?;
    let others = neighbours.iter().filter(|message| is_other(message.header.ifindex));
    network.neighbours = others
        .filter_map(|message| Some((neighbour(message)?, name(message.header.ifindex))))
        .collect();
    Ok(network)
}

fn link_names(route: &Route) -> Result<BTreeMap<u32, String>, Error> {
    let request = route.handle().link().get().execute();
    let links: Vec<_> = route.wait(|| "reading the links".to_owned(), request.try_collect())?;
    let named = links.into_iter().filter_map(|link| {
        let name = link.attributes.into_iter().find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name),
            _ => None,
        });
        Some((link.header.index, name?))
    });
    Ok(named.collect())
}

fn read_addresses(route: &Route) -> Result<Vec<AddressMessage>, Error> {
    let request = route.handle().address().get().execute();
    route.wait(|| "reading the host's addresses".to_owned(), request.try_collect())
}

fn read_routes(route: &Route, ours: Option<u32>, addresses: &[IpAddr]) -> Result<Vec<RouteEntry>, Error> {
    let mut kept = Vec::new();
    for query in [
        RouteMessageBuilder::<Ipv4Addr>::new().build(),
        RouteMessageBuilder::<Ipv6Addr>::new().build(),
    ] {
        let request = route.handle().route().get(query).execute();
        let entries = request.try_filter_map(|message| std::future::ready(Ok(entry(&message, ours, addresses))));
        let entries: Vec<RouteEntry> = route.wait(|| "reading the routes".to_owned(), entries.try_collect())?;
        kept.extend(entries);
    }
    Ok(kept)
}

/// Returns the route in a message, if it is to be kept.
fn entry(message: &RouteMessage, ours: Option<u32>, addresses: &[IpAddr]) -> Option<RouteEntry> {
    let (mut table, mut metric, mut link, mut gateway, mut destination) =
        (u32::from(message.header.table), 0, None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Priority(number) => metric = *number,
            RouteAttribute::Oif(index) => link = Some(*index),
            RouteAttribute::Gateway(address) => gateway = ip(address),
            RouteAttribute::Destination(address) => destination = ip(address),
            // Of several paths the first that works stands for all.
            RouteAttribute::MultiPath(hops) => {
                let hop = hops.iter().find(|hop| !hop.flags.contains(RouteNextHopFlags::Dead))?;
                link = Some(hop.interface_index);
                gateway = hop.attributes.iter().find_map(|attribute| match attribute {
                    RouteAttribute::Gateway(address) => ip(address),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    let everywhere = match message.header.address_family {
        rtnetlink::packet_route::AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        rtnetlink::packet_route::AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let network = IpNet::new(
        destination.unwrap_or(everywhere),
        message.header.destination_prefix_length,
    )
    .ok()?;
    let path = match message.header.kind {
        // The addresses of our own interface are among what is judged.
        _ if link.is_some() && link == ours => return None,
        RouteType::Unicast => Path::Link { index: link?, gateway },
        RouteType::Local | RouteType::Anycast => Path::Local,
        RouteType::BlackHole | RouteType::Unreachable | RouteType::Prohibit => Path::Dropped,
        RouteType::Throw => Path::Throw,
        _ => return None,
    };
    let is_wanted =
        gateway.is_none() || network.prefix_len() == 0 || addresses.iter().any(|address| network.contains(address));
    is_wanted.then_some(RouteEntry {
        table,
        network,
        metric,
        path,
    })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

/// Returns the rule in a message, as far as it matters to the host's own packets.
fn rule(message: &RuleMessage) -> Option<Rule> {
    let header = &message.header;
    let (mut priority, mut table, mut suppress, mut goto) = (0, u32::from(header.table), None, None);
    // A packet of the host's own has no mark, and no source until the lookup has chosen one.
    let (mut destination, mut mark, mut mask, mut never) = (None, 0, u32::MAX, header.tos != 0);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(number) => priority = *number,
            RuleAttribute::Table(number) => table = *number,
            RuleAttribute::Goto(number) => goto = Some(*number),
            // The kernel gives -1 where nothing is suppressed.
            RuleAttribute::SuppressPrefixLen(length) => suppress = u8::try_from(*length).ok(),
            RuleAttribute::Destination(address) => destination = IpNet::new(*address, header.dst_len).ok(),
            RuleAttribute::Source(_) => never |= header.src_len > 0,
            RuleAttribute::FwMark(number) => mark = *number,
            RuleAttribute::FwMask(number) => mask = *number,
            RuleAttribute::Iifname(name) => never |= name != LOOPBACK,
            RuleAttribute::L3MDev(is_set) => never |= *is_set,
            RuleAttribute::Oifname(_)
            | RuleAttribute::TunId(_)
            | RuleAttribute::UidRange(_)
            | RuleAttribute::IpProtocol(_)
            | RuleAttribute::SourcePortRange(_)
            | RuleAttribute::DestinationPortRange(_) => never = true,
            _ => {}
        }
    }
    never |= mark & mask != 0;
    let selector = match (header.flags.contains(RuleFlags::Invert), never, destination) {
        (false, true, _) | (true, false, None) => Selector::Never,
        (false, false, destination) => Selector::Destination(destination),
        (true, true, _) => Selector::Destination(None),
        (true, false, Some(destination)) => Selector::NotDestination(destination),
    };
    let action = match header.action {
        Action::ToTable => RuleAction::Table {
            table,
            suppress_up_to: suppress,
        },
        Action::Goto => RuleAction::Goto(goto?),
        Action::Blackhole | Action::Unreachable | Action::Prohibit => RuleAction::Drop,
        _ => RuleAction::Nothing,
    };
    Some(Rule {
        priority,
        ipv6: header.family == rtnetlink::packet_route::AddressFamily::Inet6,
        action,
        selector,
    })
}

/// Returns the address of another machine that was seen on a link.
fn neighbour(message: &NeighbourMessage) -> Option<IpAddr> {
    let seen = matches!(
        message.header.state,
        NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent
    );
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    });
    address.filter(|_| seen)
}
