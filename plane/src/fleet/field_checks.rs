//! Checks of the individual values in a request, made before anything is looked up.
//!
//! Owns only pure functions. It must not read the store. Each refusal names its field.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::model::pool::Pool;
use ipnet::IpNet;
use wgctl::address::{Endpoint, leads_off_host, normal};
use wgctl::{PublicKey, Timestamp};

use super::Refusal;

/// The maximum number of networks in one list. The kernel accepts more, but no reasonable configuration
/// needs them.
const LIST: usize = 1024;

/// Checks that an MTU is at least the minimum for IPv6 (RFC 8200, section 5) and at most what common
/// hardware supports.
pub(super) fn mtu(field: &str, mtu: Option<u16>) -> Result<Option<u16>, Refusal> {
    match mtu {
        Some(bytes) if !(1280..=9000).contains(&bytes) => Err(Refusal::field_value(
            field,
            format!("{bytes} is not a usable MTU: give 1280 to 9000 bytes"),
        )),
        other => Ok(other),
    }
}

/// Returns a keepalive interval, in seconds, or `None` for 0, which means off.
pub(super) fn keepalive(seconds: Option<u16>) -> Option<u16> {
    seconds.filter(|seconds| *seconds > 0)
}

/// Checks that a time is in the future.
pub(super) fn future(field: &str, at: Option<Timestamp>, now: Timestamp) -> Result<Option<Timestamp>, Refusal> {
    match at {
        Some(at) if at <= now => Err(Refusal::field_value(
            field,
            format!("{at} is in the past: give a later time, or leave it out"),
        )),
        other => Ok(other),
    }
}

/// Checks the address to which a host connects to measure the round-trip time.
pub(super) fn ping_target(target: Option<Endpoint>) -> Result<Option<Endpoint>, Refusal> {
    let address = target.as_ref().and_then(|target| target.host().parse::<IpAddr>().ok());
    match address {
        Some(address) if !leads_off_host(address) => Err(Refusal::field_value(
            "ping_target",
            format!("an agent does not connect to {address}: name another host"),
        )),
        _ => Ok(target),
    }
}

/// Checks the length of a list of DNS servers.
pub(super) fn dns(field: &str, servers: Vec<IpAddr>) -> Result<Vec<IpAddr>, Refusal> {
    bounded(field, servers.len(), 16)?;
    Ok(servers)
}

/// Checks the length of a list of networks. Returns the networks in the kernel's form, without duplicates.
pub(super) fn networks(field: &str, networks: &[IpNet]) -> Result<Vec<IpNet>, Refusal> {
    bounded(field, networks.len(), LIST)?;
    let mut seen = BTreeSet::new();
    let networks = networks.iter().copied().map(normal);
    Ok(networks.filter(|net| seen.insert(*net)).collect())
}

/// Checks the networks behind a device. They must be disjoint, and none may be too wide or in a range
/// that cannot be behind a device.
pub(super) fn networks_behind(field: &str, wanted: &[IpNet]) -> Result<Vec<IpNet>, Refusal> {
    let nets = networks(field, wanted)?;
    for (at, net) in nets.iter().enumerate() {
        let widest = if net.addr().is_ipv4() { 8 } else { 16 };
        if net.prefix_len() < widest {
            let detail = format!(
                "{net} is too wide to be behind one client: name the networks that actually are \
                 (/{widest} is the largest allowed)"
            );
            return Err(Refusal::field_value(format!("{field}[{at}]"), detail));
        }
        if is_unroutable(net) {
            let detail = format!("{net} cannot be behind a client: name the networks that actually are");
            return Err(Refusal::field_value(format!("{field}[{at}]"), detail));
        }
    }
    if let Some((network, other)) = nested(&nets) {
        return Err(Refusal::OverlappingNetworks {
            network: network.to_string(),
            other: format!("{other} (in the same list)"),
        });
    }
    Ok(nets)
}

/// Returns two networks in a list that overlap. CIDR networks overlap only if one contains the other.
/// In sorted order, a network that contains others comes directly before one of them.
fn nested(nets: &[IpNet]) -> Option<(IpNet, IpNet)> {
    let mut ordered = nets.to_vec();
    ordered.sort_by_key(|net| (net.addr(), net.prefix_len()));
    let pair = ordered.array_windows().find(|[wide, narrow]| wide.contains(narrow));
    pair.map(|[wide, narrow]| (*narrow, *wide))
}

/// Returns whether a network is in a range that refers to this host or to no host: 0.0.0.0/8, 127.0.0.0/8
/// (loopback), 255.0.0.0/8 (which includes the broadcast address) and `::/16`. Multicast and link-local
/// networks are allowed, because routing protocols over WireGuard need them.
fn is_unroutable(net: &IpNet) -> bool {
    match net.addr() {
        IpAddr::V4(v4) => matches!(v4.octets()[0], 0 | 127 | 255),
        IpAddr::V6(v6) => v6.segments()[0] == 0,
    }
}

/// Checks a peer's own public key. Low-order keys are refused, because every key agreement with such a
/// key has the same result.
pub(super) fn public_key(field: &str, key: Option<PublicKey>) -> Result<Option<PublicKey>, Refusal> {
    match key {
        Some(key) if key.is_low_order() => Err(Refusal::field_value(
            field,
            "this is a low-order key, with which no handshake succeeds: make one with `wg genkey | wg pubkey`",
        )),
        other => Ok(other),
    }
}

/// Checks a server's pool, which may have at most one network of each address family.
pub(super) fn address_pool(nets: &[IpNet]) -> Result<Vec<IpNet>, Refusal> {
    if nets.is_empty() || nets.len() > 2 {
        return Err(Refusal::field_value(
            "address_pool",
            "give one IPv4 network, one IPv6 network, or one of each",
        ));
    }
    let mut pool: Vec<IpNet> = Vec::new();
    for (at, net) in nets.iter().copied().map(normal).enumerate() {
        let refuse = |detail: &str| {
            Err(Refusal::field_value(
                format!("address_pool[{at}]"),
                format!("{net}: {detail}"),
            ))
        };
        let widest = if net.addr().is_ipv4() { 8 } else { 32 };
        let address = net.addr();
        let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        if net.prefix_len() < widest {
            return refuse(&format!("too large: /{widest} is the largest pool of its family"));
        }
        if net.prefix_len() == net.max_prefix_len() {
            return refuse(
                "a single address, which is the server's: leave room for clients, like 10.8.0.0/24 or fd00:8::/64",
            );
        }
        if address.is_loopback() || address.is_multicast() || address.is_unspecified() || link_local {
            return refuse("not addresses that a tunnel can have: use private ones like 10.8.0.0/24 or fd00:8::/64");
        }
        if pool.iter().any(|other| other.addr().is_ipv4() == address.is_ipv4()) {
            return refuse("a second network of its family: give at most one IPv4 and one IPv6 network");
        }
        pool.push(net);
    }
    // IPv4 comes first: the API shows its address as `address`.
    pool.sort_by_key(|net| net.addr().is_ipv6());
    Ok(pool)
}

/// Checks the addresses requested for a peer: at most one from each pool, and only addresses that the
/// pool may assign.
pub(super) fn wanted_addresses(
    address: Option<IpAddr>,
    addresses: Option<Vec<IpAddr>>,
    pools: &[Pool],
) -> Result<Vec<IpAddr>, Refusal> {
    let listed = addresses.unwrap_or_default();
    bounded("addresses", listed.len(), 2)?;
    let single = address.map(|address| ("address".to_owned(), address));
    let listed = listed
        .into_iter()
        .enumerate()
        .map(|(at, a)| (format!("addresses[{at}]"), a));
    let mut wanted: Vec<IpAddr> = Vec::new();
    for (field, address) in single.into_iter().chain(listed) {
        let address = normal(wgctl::address::host(address)).addr();
        if wanted.contains(&address) {
            continue;
        }
        if !pools.iter().any(|pool| pool.is_assignable(address)) {
            let nets: Vec<_> = pools.iter().map(|pool| pool.net().to_string()).collect();
            let nets = nets.join(" and ");
            let detail = format!(
                "{address} is not an address for clients of {nets} (the network, broadcast and server addresses are reserved): choose another, or leave it out"
            );
            return Err(Refusal::field_value(field, detail));
        }
        if wanted.iter().any(|other| other.is_ipv4() == address.is_ipv4()) {
            return Err(Refusal::field_value(
                field,
                "a second address of its family: give at most one of each",
            ));
        }
        wanted.push(address);
    }
    Ok(wanted)
}

fn bounded(field: &str, count: usize, limit: usize) -> Result<(), Refusal> {
    if count > limit {
        return Err(Refusal::field_value(
            field,
            format!("{count} entries: give at most {limit}"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_pool_has_at_most_one_usable_network_of_each_family() {
        for good in [
            &["10.8.0.0/24"][..],
            &["fd00::/64"],
            &["fd00::/64", "10.8.0.7/24"],
            &["10.0.0.0/31"],
        ] {
            assert!(address_pool(&nets(good)).is_ok(), "{good:?}");
        }
        for bad in [
            &[][..],
            &["10.8.0.0/24", "10.9.0.0/24"],
            &["0.0.0.0/0"],
            &["127.0.0.0/8"],
            &["10.0.0.0/32"],
            &["fd00::1/128"],
            &["224.0.0.0/8"],
            &["fe80::/64"],
            &["::/0"],
            &["10.8.0.0/24", "fd00::/64", "fd01::/64"],
        ] {
            assert!(address_pool(&nets(bad)).is_err(), "{bad:?}");
        }
        let both = address_pool(&nets(&["fd00::/64", "10.8.0.7/24"])).unwrap();
        assert_eq!(both, nets(&["10.8.0.0/24", "fd00::/64"]));
    }

    #[test]
    fn networks_behind_a_client_must_be_disjoint_and_not_too_wide() {
        assert_eq!(
            networks_behind(
                "serverAllowedIPs",
                &nets(&["192.168.1.7/24", "192.168.1.0/24", "::ffff:10.1.2.3/120"])
            )
            .unwrap(),
            nets(&["192.168.1.0/24", "10.1.2.0/24"])
        );
        for bad in [
            &["0.0.0.0/0"][..],
            &["::/0"],
            &["128.0.0.0/1"],
            &["8000::/1"],
            &["10.0.0.0/8", "10.1.0.0/16"],
            &["127.0.0.0/8"],
            &["0.1.0.0/16"],
            &["255.255.255.255/32"],
            &["::1/128"],
            // A network that contains all IPv4-mapped addresses is not itself an IPv4 network.
            &["::ffff:0:0/95"],
        ] {
            assert!(networks_behind("serverAllowedIPs", &nets(bad)).is_err(), "{bad:?}");
        }
        assert!(networks("allowedIPs", &nets(&["0.0.0.0/0"; 1025])).is_err());
    }

    proptest::proptest! {
        #[test]
        fn an_overlap_is_found_exactly_when_comparing_all_pairs_finds_one(
            nets in proptest::collection::vec((0u32..256, 20u8..=32), 0..12),
        ) {
            let nets: Vec<IpNet> = nets
                .into_iter()
                .map(|(low, length)| {
                    let address = IpAddr::from((0x0a00_0000 | low << 4).to_be_bytes());
                    normal(IpNet::new(address, length).unwrap())
                })
                .collect::<BTreeSet<_>>()
                .into_iter()
                .rev()
                .collect();
            let overlap = |(at, one): (usize, &IpNet)| nets.iter().skip(at + 1).any(|other| wgctl::address::overlap(one, other));
            let expected = nets.iter().enumerate().any(overlap);
            let found = nested(&nets);
            proptest::prop_assert_eq!(found.is_some(), expected);
            if let Some((narrow, wide)) = found {
                proptest::prop_assert!(narrow != wide && wide.contains(&narrow));
            }
        }
    }

    #[test]
    fn a_ping_target_on_the_host_itself_is_refused() {
        let target = |text: &str| ping_target(Some(text.parse().unwrap()));
        for bad in ["127.0.0.1:80", "[::1]:80", "169.254.169.254:80", "[fe80::1]:80"] {
            assert_eq!(target(bad).unwrap_err().field(), Some("ping_target"), "{bad}");
        }
        for good in ["192.0.2.1:80", "[2001:db8::1]:80", "example.com:443"] {
            assert!(target(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_refusal_names_its_field() {
        let pools = [Pool::new("10.8.0.0/24".parse().unwrap())];
        let wanted = |address: &str| wanted_addresses(None, Some(vec![address.parse().unwrap()]), &pools);
        assert_eq!(wanted("10.8.0.255").unwrap_err().field(), Some("addresses[0]"));
        assert_eq!(wanted("fd00::1").unwrap_err().field(), Some("addresses[0]"));
        assert!(wanted("::ffff:10.8.0.9").is_ok());
        assert_eq!(mtu("mtu", Some(1279)).unwrap_err().field(), Some("mtu"));
        let now = Timestamp::from_unix(100);
        assert_eq!(
            future("expiresAt", Some(now), now).unwrap_err().field(),
            Some("expiresAt")
        );
    }
}
