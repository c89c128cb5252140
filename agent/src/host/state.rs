//! The host side of an interface as read, and its differences from the desired one.
//!
//! Owns the pure comparison: the individual differences, and whether the subject of a difference has changed between
//! two readings. It must not perform I/O.

use std::collections::BTreeSet;

use ipnet::IpNet;
use wgctl::drift::DriftKind;

use super::{Spec, nat, routes};

/// The host side of an interface, as read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostState {
    /// The index of the link; another link of the same name has a different index.
    pub index: u32,
    /// The MTU of the link.
    pub mtu: u32,
    /// True if the link is administratively up.
    pub up: bool,
    /// The addresses of the link, excluding link-local ones.
    pub addresses: BTreeSet<IpNet>,
    /// The networks with a route over the link in the main table, whoever created the route.
    pub routes: BTreeSet<IpNet>,
    /// The subset of `routes` that belongs to the agent.
    pub our_routes: BTreeSet<IpNet>,
    /// The masquerading in the agent's table.
    pub masquerade: Masquerade,
}

/// The agent's nftables table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Masquerade {
    /// The table does not exist.
    #[default]
    None,
    /// The marks of the table's rules.
    Rules(Vec<Vec<u8>>),
    /// The table cannot be read.
    Unreadable,
}

/// A single difference from the desired state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// A desired address is missing.
    AddressMissing(IpNet),
    /// The interface has an address that is not desired.
    AddressSurplus(IpNet),
    /// The MTU differs; this is its current value.
    Mtu(u32),
    /// The masquerading differs.
    Masquerade,
    /// The link is down.
    Down,
    /// A desired route is missing.
    RouteMissing(IpNet),
    /// One of the agent's routes is no longer desired.
    RouteSurplus(IpNet),
}

impl Difference {
    /// Returns the kind of drift that the difference represents if an external change caused it; `None` for a
    /// difference that no external change causes.
    #[must_use]
    pub const fn kind(&self) -> Option<DriftKind> {
        match self {
            Self::AddressMissing(_) => Some(DriftKind::AddressRemoved),
            Self::AddressSurplus(_) => Some(DriftKind::AddressAdded),
            Self::Mtu(_) => Some(DriftKind::MtuChanged),
            Self::Masquerade => Some(DriftKind::MasqueradeChanged),
            Self::Down => Some(DriftKind::LinkDown),
            Self::RouteMissing(_) => Some(DriftKind::RouteRemoved),
            Self::RouteSurplus(_) => None,
        }
    }

    /// Returns the network that the difference concerns.
    #[must_use]
    pub const fn network(&self) -> Option<IpNet> {
        match self {
            Self::AddressMissing(network)
            | Self::AddressSurplus(network)
            | Self::RouteMissing(network)
            | Self::RouteSurplus(network) => Some(*network),
            Self::Mtu(_) | Self::Masquerade | Self::Down => None,
        }
    }

    /// Returns a human-readable description.
    #[must_use]
    pub fn detail(&self, spec: &Spec) -> String {
        let name = &spec.name;
        match self {
            Self::AddressMissing(address) => format!("{name} has no address {address}"),
            Self::AddressSurplus(address) => format!("{name} has the address {address}, which is not recorded"),
            Self::Mtu(mtu) => format!("{name} has MTU {mtu} instead of {}", spec.mtu.unwrap_or_default()),
            Self::Masquerade => format!("the table inet sentrazone-{name} does not have the expected content"),
            Self::Down => format!("{name} is down"),
            Self::RouteMissing(network) => format!("there is no route to {network} over {name}"),
            Self::RouteSurplus(network) => format!("there is still a route to {network} over {name}"),
        }
    }
}

impl HostState {
    /// Returns the individual differences from `spec`.
    #[must_use]
    pub fn differences(&self, spec: &Spec) -> BTreeSet<Difference> {
        let Self {
            index: _,
            mtu,
            up,
            addresses,
            routes,
            our_routes,
            masquerade,
        } = self;
        let wanted: BTreeSet<IpNet> = spec.addresses.iter().copied().collect();
        let wanted_routes = routes::wanted(spec);
        let missing = wanted.difference(addresses).copied();
        let surplus = addresses.difference(&wanted).copied();
        // The kernel creates the route to an address's network, and others may delete it. It is created again by the kernel
        // together with a missing address, and when the link comes up.
        let connected = routes::connected(wanted.intersection(addresses).filter(|_| *up));
        let unrouted = wanted_routes
            .union(&connected)
            .filter(|network| !routes.contains(network))
            .copied();
        let own = routes::connected(wanted.iter());
        let stale = our_routes
            .difference(&wanted_routes)
            .filter(|network| !own.contains(network))
            .copied();
        let other_mtu = spec.mtu.is_some_and(|wanted| u32::from(wanted) != *mtu);
        let mut all: BTreeSet<Difference> = missing.map(Difference::AddressMissing).collect();
        all.extend(surplus.map(Difference::AddressSurplus));
        all.extend(other_mtu.then_some(Difference::Mtu(*mtu)));
        all.extend((*masquerade != nat::wanted(spec)).then_some(Difference::Masquerade));
        all.extend((!up).then_some(Difference::Down));
        all.extend(unrouted.map(Difference::RouteMissing));
        all.extend(stale.map(Difference::RouteSurplus));
        all
    }

    /// Returns whether the subject of `difference` was different in the `earlier` reading.
    #[must_use]
    pub fn moved_since(&self, earlier: &Self, difference: &Difference) -> bool {
        match difference {
            Difference::AddressMissing(address) | Difference::AddressSurplus(address) => {
                self.addresses.contains(address) != earlier.addresses.contains(address)
            }
            Difference::Mtu(_) => self.mtu != earlier.mtu,
            // An unreadable table is not evidence of a change.
            Difference::Masquerade => {
                self.masquerade != Masquerade::Unreadable && self.masquerade != earlier.masquerade
            }
            Difference::Down => self.up != earlier.up,
            Difference::RouteMissing(network) | Difference::RouteSurplus(network) => {
                self.routes.contains(network) != earlier.routes.contains(network)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Meddle = fn(&mut HostState);

    fn networks<C: FromIterator<IpNet>>(texts: &[&str]) -> C {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn spec() -> Spec {
        Spec {
            name: "wg0".parse().unwrap(),
            addresses: networks(&["10.8.0.1/24"]),
            mtu: Some(1380),
            routes: networks(&["10.50.0.0/16"]),
            masquerade: networks(&["10.8.0.0/24"]),
        }
    }

    fn as_it_should_be() -> HostState {
        HostState {
            index: 7,
            mtu: 1380,
            up: true,
            addresses: networks(&["10.8.0.1/24"]),
            routes: networks(&["10.8.0.0/24", "10.50.0.0/16"]),
            our_routes: networks(&["10.50.0.0/16"]),
            masquerade: nat::wanted(&spec()),
        }
    }

    #[test]
    fn each_difference_is_found_separately_and_recognized_as_a_change() {
        let good = as_it_should_be();
        assert!(good.differences(&spec()).is_empty());
        let address: IpNet = "10.8.0.1/24".parse().unwrap();
        let another: IpNet = "10.9.0.1/24".parse().unwrap();
        let route: IpNet = "10.50.0.0/16".parse().unwrap();
        let cases: [(Difference, Meddle); 7] = [
            (Difference::AddressMissing(address), |shown| shown.addresses.clear()),
            (Difference::AddressSurplus(another), |shown| {
                shown.addresses.insert("10.9.0.1/24".parse().unwrap());
            }),
            (Difference::Mtu(1300), |shown| shown.mtu = 1300),
            (Difference::Masquerade, |shown| shown.masquerade = Masquerade::None),
            (Difference::Down, |shown| shown.up = false),
            (Difference::RouteMissing(address.trunc()), |shown| {
                shown.routes.remove(&"10.8.0.0/24".parse().unwrap());
            }),
            (Difference::RouteMissing(route), |shown| {
                shown.routes.remove(&"10.50.0.0/16".parse().unwrap());
                shown.our_routes.clear();
            }),
        ];
        for (difference, meddle) in cases {
            let mut now = good.clone();
            meddle(&mut now);
            assert_eq!(now.differences(&spec()), BTreeSet::from([difference.clone()]));
            assert!(now.moved_since(&good, &difference), "{difference:?}");
            assert!(!now.moved_since(&now, &difference), "{difference:?}");
        }
    }

    #[test]
    fn the_kernels_route_to_an_address_is_expected_only_while_the_kernel_keeps_it() {
        let pool: IpNet = "10.8.0.0/24".parse().unwrap();
        let mut down = as_it_should_be();
        down.up = false;
        down.routes.remove(&pool);
        assert_eq!(down.differences(&spec()), BTreeSet::from([Difference::Down]));
        let mut without = as_it_should_be();
        without.addresses.clear();
        without.routes.remove(&pool);
        assert_eq!(without.differences(&spec()).len(), 1, "{without:?}");
        // One that the agent created in the kernel's place stays.
        let mut ours = as_it_should_be();
        ours.our_routes.insert(pool);
        assert!(ours.differences(&spec()).is_empty());
        let mut single = spec();
        single.addresses = networks(&["10.8.0.1/32"]);
        let mut shown = as_it_should_be();
        shown.addresses = networks(&["10.8.0.1/32"]);
        shown.routes.remove(&pool);
        single.masquerade.clear();
        shown.masquerade = Masquerade::None;
        assert!(shown.differences(&single).is_empty());
    }

    #[test]
    fn a_route_created_by_another_program_is_accepted_and_never_removed() {
        let mut shown = as_it_should_be();
        shown.our_routes.clear();
        shown.routes.insert("172.16.0.0/12".parse().unwrap());
        assert!(shown.differences(&spec()).is_empty());
    }

    #[test]
    fn unreadable_masquerading_is_a_difference_but_not_an_external_change() {
        let (good, mut now) = (as_it_should_be(), as_it_should_be());
        now.masquerade = Masquerade::Unreadable;
        assert_eq!(now.differences(&spec()), BTreeSet::from([Difference::Masquerade]));
        assert!(!now.moved_since(&good, &Difference::Masquerade));
    }
}
