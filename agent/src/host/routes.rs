//! Routes to the networks behind peers.
//!
//! Owns the routes in the main table that carry the agent's protocol number. It must not touch any other route:
//! one that an administrator added by hand remains, whatever its destination.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt as _;
use ipnet::IpNet;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
};
use wgctl::device::kernel::link::{Link, Route};
use wgctl::name::InterfaceName;

use super::{Difference, Error, Spec};

/// The `proto` of the agent's routes in `ip route`. The number is unused in `linux/rtnetlink.h` and in iproute2's
/// `rt_protos`.
pub(crate) const PROTOCOL: RouteProtocol = RouteProtocol::Other(115);

/// Removes the agent's routes that are no longer wanted and adds those that are missing. Returns the number of
/// writes.
pub(super) fn repair(
    route: &Route,
    link: &Link,
    spec: &Spec,
    differences: &BTreeSet<Difference>,
) -> Result<u32, Error> {
    // A network that cannot be routed (because the host itself is in it) must not block the other routes.
    let mut outcomes = Vec::new();
    if differences
        .iter()
        .any(|found| matches!(found, Difference::RouteSurplus(_)))
    {
        for (network, message) in read(route, link, &spec.name)? {
            if is_ours(&message) && differences.contains(&Difference::RouteSurplus(network)) {
                let request = route.handle().route().del(message).execute();
                let what = || format!("removing the route to {network} over {}", spec.name);
                outcomes.push(route.wait(what, request));
            }
        }
    }
    for difference in differences {
        let Difference::RouteMissing(network) = difference else {
            continue;
        };
        let request = route.handle().route().add(message(link, network)).execute();
        let what = || format!("adding a route to {network} over {}", spec.name);
        outcomes.push(route.wait(what, request));
    }
    let writes = outcomes.len();
    outcomes.into_iter().collect::<Result<Vec<()>, Error>>()?;
    Ok(u32::try_from(writes).unwrap_or(u32::MAX))
}

/// Returns whether a route carries the agent's protocol number.
pub(super) fn is_ours(message: &RouteMessage) -> bool {
    message.header.protocol == PROTOCOL
}

/// Returns the networks that need a route, excluding the networks of the interface's own addresses, for which the
/// kernel creates routes. A default route is also excluded: in the main table it would cut the host off from everything
/// else, including the plane.
pub(super) fn wanted(spec: &Spec) -> BTreeSet<IpNet> {
    let connected = |network: &IpNet| spec.addresses.iter().any(|address| address.trunc().contains(network));
    spec.routes
        .iter()
        .map(IpNet::trunc)
        .filter(|network| network.prefix_len() > 0 && !connected(network))
        .collect()
}

/// Returns the networks of these addresses, to which the kernel creates routes. A single address is not a network.
pub(super) fn connected<'a>(addresses: impl Iterator<Item = &'a IpNet>) -> BTreeSet<IpNet> {
    let networks = addresses.filter(|address| address.prefix_len() < address.max_prefix_len());
    networks.map(IpNet::trunc).collect()
}

/// Returns all routes over the link in the main table.
pub(super) fn read(route: &Route, link: &Link, name: &InterfaceName) -> Result<BTreeMap<IpNet, RouteMessage>, Error> {
    let mut routes = BTreeMap::new();
    for query in [
        RouteMessageBuilder::<Ipv4Addr>::new().build(),
        RouteMessageBuilder::<Ipv6Addr>::new().build(),
    ] {
        let request = route.handle().route().get(query).execute();
        let messages: Vec<RouteMessage> =
            route.wait(|| format!("reading the routes over {name}"), request.try_collect())?;
        let over_link = messages.into_iter().filter(|message| is_over(link, message));
        routes.extend(over_link.filter_map(|message| Some((destination(&message)?, message))));
    }
    Ok(routes)
}

fn is_over(link: &Link, message: &RouteMessage) -> bool {
    message.header.table == RouteHeader::RT_TABLE_MAIN && message.attributes.contains(&RouteAttribute::Oif(link.index))
}

fn destination(message: &RouteMessage) -> Option<IpNet> {
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        RouteAttribute::Destination(RouteAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    })?;
    IpNet::new(address, message.header.destination_prefix_length).ok()
}

fn message(link: &Link, network: &IpNet) -> RouteMessage {
    match network {
        IpNet::V4(v4) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(v4.network(), v4.prefix_len())
            .output_interface(link.index)
            .protocol(PROTOCOL)
            .scope(RouteScope::Link)
            .build(),
        IpNet::V6(v6) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(v6.network(), v6.prefix_len())
            .output_interface(link.index)
            .protocol(PROTOCOL)
            .build(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(addresses: &[&str], routes: &[&str]) -> Spec {
        Spec {
            name: "wg0".parse().unwrap(),
            addresses: addresses.iter().map(|net| net.parse().unwrap()).collect(),
            mtu: None,
            routes: routes.iter().map(|net| net.parse().unwrap()).collect(),
            masquerade: Vec::new(),
        }
    }

    fn wanted(addresses: &[&str], routes: &[&str]) -> Vec<String> {
        super::wanted(&spec(addresses, routes))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn the_interfaces_own_networks_need_no_route() {
        let routes = ["10.8.0.7/32", "192.168.7.0/24", "fd00::9/128"];
        assert_eq!(wanted(&["10.8.0.1/24", "fd00::1/64"], &routes), ["192.168.7.0/24"]);
    }

    #[test]
    fn a_default_route_is_never_set() {
        assert!(wanted(&["10.8.0.1/24"], &["0.0.0.0/0", "::/0"]).is_empty());
    }
}
