//! What the guard refuses, by the kinds of reports from the field, and what it leaves alone beside it.

use super::setup::Setup;

/// A branch office's router behind a home router, with a plane on the internet.
const BRANCH: &str = "link eth0 192.168.1.5/24 2001:db8:1::5/64; gateway eth0 192.168.1.1; gateway eth0 fe80::1
    plane plane.example.com 203.0.113.7 2001:db8:ff::7; resolver 192.168.1.1; resolver 9.9.9.9; wg 10.8.0.1/24 fd08::1/64";

fn refused(text: &str) -> (Vec<String>, Vec<String>) {
    let judgement = Setup::parse(text).judge();
    let addresses = judgement.addresses.keys().map(ToString::to_string).collect();
    (addresses, judgement.networks.keys().map(ToString::to_string).collect())
}

fn refused_networks(peer: &str) -> Vec<String> {
    let (addresses, networks) = refused(&format!("{BRANCH}; peer {peer}"));
    assert!(addresses.is_empty(), "{addresses:?}");
    networks
}

#[test]
fn a_network_that_leads_to_the_plane_is_refused_however_it_is_written() {
    for (peer, expected) in [
        ("203.0.113.7/32", vec!["203.0.113.7/32"]),
        ("203.0.113.0/24 172.16.5.0/24", vec!["203.0.113.0/24"]),
        ("2001:db8:ff::/48", vec!["2001:db8:ff::/48"]),
        // Two halves and many pieces of everything: only those that lead there.
        ("0.0.0.0/1 128.0.0.0/1", vec!["0.0.0.0/1", "128.0.0.0/1"]),
        ("8000::/1 ::/1", vec!["::/1"]),
        ("192.0.0.0/3 128.0.0.0/2 64.0.0.0/2", vec!["192.0.0.0/3"]),
        // Nested: each that remains would lead there.
        (
            "203.0.113.0/24 203.0.113.7/32 203.0.0.0/8",
            vec!["203.0.0.0/8", "203.0.113.0/24", "203.0.113.7/32"],
        ),
    ] {
        assert_eq!(refused_networks(peer), expected, "{peer}");
    }
}

#[test]
fn a_network_that_leads_to_the_gateway_or_a_resolver_is_refused() {
    assert_eq!(refused_networks("192.168.1.1/32"), ["192.168.1.1/32"]);
    assert_eq!(refused_networks("192.168.1.0/25"), ["192.168.1.0/25"]);
    assert_eq!(refused_networks("9.9.9.0/24"), ["9.9.9.0/24"]);
    assert_eq!(refused_networks("fe80::1/128"), ["fe80::1/128"]);
}

#[test]
fn a_shorter_prefix_beside_the_hosts_own_network_is_not_refused() {
    // The kernel prefers its own route to a network of the same length in IPv6.
    assert!(refused_networks("192.168.0.0/16 10.0.0.0/8 192.168.1.128/25 fe80::/64").is_empty());
}

#[test]
fn a_resolver_is_only_a_warning_where_a_plane_is_known_by_its_address() {
    let mut setup = Setup::parse(&format!("{BRANCH}; peer 9.9.9.0/24 203.0.113.0/24"));
    setup.protection.needs_resolver = false;
    let judgement = setup.judge();
    assert_eq!(judgement.networks.len(), 1, "{judgement:?}");
    assert_eq!(judgement.doubtful.len(), 1, "{judgement:?}");
    let reason = judgement.networks.values().next().unwrap();
    assert!(
        reason.contains("plane.example.com") && reason.contains("allow_routes"),
        "{reason}"
    );
}

#[test]
fn what_is_reached_through_the_tunnel_already_and_what_is_allowed_is_not_refused() {
    assert!(
        refused(&format!("{BRANCH}; peer 203.0.113.0/24; tunnel 203.0.113.7"))
            .1
            .is_empty()
    );
    assert!(
        refused(&format!("{BRANCH}; peer 203.0.113.7/32; allow 203.0.113.0/24"))
            .1
            .is_empty()
    );
    assert_eq!(
        refused(&format!("{BRANCH}; peer 203.0.113.0/24; allow 203.0.113.7/32")).1,
        ["203.0.113.0/24"]
    );
}

#[test]
fn an_address_that_the_hosts_network_uses_is_refused() {
    let home = "link eth0 192.168.1.5/24; gateway eth0 192.168.1.1; neighbour eth0 192.168.1.9; plane p 203.0.113.7";
    for address in [
        "192.168.1.1/24",
        "192.168.1.77/24",
        "192.168.1.1/32",
        "192.168.1.5/32",
        "192.168.1.9/32",
        "192.168.1.129/25",
        "203.0.113.7/32",
        "203.0.113.1/24",
    ] {
        assert_eq!(refused(&format!("{home}; wg {address}")).0, [address]);
    }
    for address in ["192.168.2.1/24", "192.168.0.1/16", "192.168.1.200/32"] {
        assert!(refused(&format!("{home}; wg {address}")).0.is_empty(), "{address}");
    }
}

#[test]
fn a_refused_address_does_not_keep_the_networks_out() {
    let (addresses, networks) = refused(
        "link eth0 192.168.1.5/24; gateway eth0 192.168.1.1; plane p 203.0.113.7; wg 192.168.1.1/24 10.8.0.1/24; peer 10.50.0.0/16",
    );
    assert_eq!(addresses, ["192.168.1.1/24"]);
    assert!(networks.is_empty());
}

#[test]
fn an_address_that_the_interface_has_already_stays_beside_a_like_network() {
    let text = "link eth0 10.8.0.9/16; gateway eth0 10.8.0.254; plane p 203.0.113.7; wg 10.8.3.1/24";
    assert_eq!(refused(text).0, ["10.8.3.1/24"]);
    let mut setup = Setup::parse(text);
    setup.present = setup.addresses.iter().copied().collect();
    assert!(setup.judge().addresses.is_empty());
    // But not where the host's network moved into it.
    let mut setup = Setup::parse("link eth0 10.8.3.9/16; gateway eth0 10.8.3.254; plane p 203.0.113.7; wg 10.8.3.1/24");
    setup.present = setup.addresses.iter().copied().collect();
    assert_eq!(setup.judge().addresses.len(), 1);
}

#[test]
fn policy_rules_decide_as_the_kernel_does() {
    let uplinks = "link eth0 192.168.1.5/24; link eth1 198.51.100.5/24; gateway eth0 192.168.1.1
        route 0.0.0.0/0 eth1 table 100; plane p 203.0.113.7; wg 10.8.0.1/24; peer 203.0.113.0/24";
    // Before the main table is asked, another has the way.
    assert!(refused(&format!("{uplinks}; rule 1000 table 100")).1.is_empty());
    assert!(
        refused(&format!("{uplinks}; rule 1000 to 203.0.113.0/24 table 100"))
            .1
            .is_empty()
    );
    assert_eq!(
        refused(&format!("{uplinks}; rule 1000 to 203.0.112.0/24 table 100"))
            .1
            .len(),
        1
    );
    assert_eq!(refused(&format!("{uplinks}; rule 1000 marked table 100")).1.len(), 1);
    // As wg-quick does it: the main table first, without its default route.
    assert_eq!(
        refused(&format!(
            "{uplinks}; rule 1000 table 254 suppress 0; rule 1001 table 100"
        ))
        .1
        .len(),
        1
    );
    assert_eq!(refused(&format!("{uplinks}; rule 40000 table 100")).1.len(), 1);
}

#[test]
fn a_host_whose_network_is_not_up_yet_does_not_lose_its_plane_to_the_tunnel() {
    assert_eq!(
        refused("plane p 203.0.113.7; wg 10.8.0.1/24; peer 203.0.113.0/24 10.50.0.0/16").1,
        ["203.0.113.0/24"]
    );
}
