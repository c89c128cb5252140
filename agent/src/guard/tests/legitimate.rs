//! Set-ups that people run, none of which may be refused anything.

use super::setup::Setup;

const CLOUD: &str = "link eth0 203.0.113.50/24 2001:db8:5::50/64; gateway eth0 203.0.113.1; gateway eth0 fe80::1
    plane plane.example.com 198.51.100.7 2001:db8:ff::7; resolver 198.51.100.53; wg 10.8.0.1/24 fd08::1/64";
const OFFICE: &str = "link eth0 192.168.1.5/24; gateway eth0 192.168.1.1; plane plane.example.com 198.51.100.7
    resolver 192.168.1.1; wg 10.8.0.1/24";
const INSIDE: &str =
    "link eth0 10.1.2.5/24; gateway eth0 10.1.2.1; plane 10.1.9.7 10.1.9.7; resolver 10.1.2.1; wg 10.99.0.1/24";

/// Each with a name, the host, and what is peculiar to it.
const SETUPS: [(&str, &str, &str); 32] = [
    ("devices only", CLOUD, ""),
    ("a full tunnel for devices", CLOUD, "peer 0.0.0.0/0 ::/0"),
    ("devices of a home server", OFFICE, ""),
    ("site to site", OFFICE, "peer 192.168.2.0/24"),
    (
        "site to site, three branches",
        OFFICE,
        "peer 192.168.2.0/24 192.168.3.0/24 192.168.4.0/24",
    ),
    (
        "hub and spoke, everything private behind it",
        CLOUD,
        "peer 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16",
    ),
    (
        "a large network behind a branch beside a small connected one",
        INSIDE,
        "peer 172.16.0.0/12 10.2.0.0/16",
    ),
    (
        "everything of 10/8 behind a branch, the plane on the internet",
        "link eth0 10.1.2.5/24; gateway eth0 10.1.2.1
        plane p 198.51.100.7; resolver 10.1.2.1; wg 10.99.0.1/24",
        "peer 10.0.0.0/8",
    ),
    (
        "everything of 10/8 behind a branch, the plane beside the host",
        "link eth0 10.1.2.5/24; gateway eth0 10.1.2.1
        plane 10.1.2.7 10.1.2.7; resolver 10.1.2.1; wg 10.99.0.1/24",
        "peer 10.0.0.0/8",
    ),
    (
        "a plane in another inner network with a route of its own",
        INSIDE,
        "route 10.1.9.0/24 eth0; peer 10.0.0.0/8",
    ),
    (
        "a plane behind the tunnel, reached already",
        OFFICE,
        "plane inner 10.50.0.7; tunnel 10.50.0.7; peer 10.50.0.0/16",
    ),
    (
        "a plane behind the tunnel, allowed",
        OFFICE,
        "plane inner 10.50.0.7; allow 10.50.0.0/16; peer 10.50.0.0/16",
    ),
    (
        "a resolver behind the tunnel, used already",
        OFFICE,
        "resolver 10.50.0.53; tunnel 10.50.0.53; peer 10.50.0.0/16",
    ),
    (
        "a resolver behind the tunnel, allowed",
        OFFICE,
        "resolver 10.50.0.53; allow 10.50.0.53/32; peer 10.50.0.53/32",
    ),
    (
        "a local resolver",
        "link lo 127.0.0.1/8; link eth0 192.168.1.5/24; gateway eth0 192.168.1.1; plane p 198.51.100.7
        resolver 127.0.0.53; wg 10.8.0.1/24",
        "peer 192.168.2.0/24",
    ),
    (
        "policy routing for the tunnel's clients",
        OFFICE,
        "rule 1000 marked table 100; route 0.0.0.0/0 eth0 table 100; peer 10.50.0.0/16",
    ),
    (
        "policy routing before the main table",
        OFFICE,
        "rule 1000 table 100; route 0.0.0.0/0 eth0 table 100; peer 198.51.100.0/24",
    ),
    (
        "two uplinks",
        OFFICE,
        "link eth1 203.0.113.9/24; gateway eth1 203.0.113.1 200; peer 192.168.2.0/24",
    ),
    (
        "two uplinks with a table each",
        OFFICE,
        "link eth1 203.0.113.9/24; route 0.0.0.0/0 eth1 table 101; rule 900 marked table 101; peer 192.168.2.0/24",
    ),
    (
        "another VPN beside ours",
        OFFICE,
        "link tun0 10.9.0.2/24; route 10.60.0.0/16 tun0; peer 10.50.0.0/16",
    ),
    (
        "wg-quick's full tunnel beside ours",
        OFFICE,
        "link wg9 10.7.0.2/32; route 0.0.0.0/0 wg9 table 51820
        rule 100 table 254 suppress 0; rule 101 table 51820; peer 192.168.2.0/24",
    ),
    (
        "Docker's networks beside ours",
        CLOUD,
        "link docker0 172.17.0.1/16; peer 172.20.0.0/16",
    ),
    (
        "everything of 172.16/12 behind a branch beside Docker",
        CLOUD,
        "link docker0 172.17.0.1/16; peer 172.16.0.0/12",
    ),
    (
        "IPv6 only",
        "link eth0 2001:db8:5::50/64; gateway eth0 fe80::1; plane p 2001:db8:ff::7; resolver 2001:db8:53::53
        wg fd08::1/64",
        "peer fd50::/48 2001:db8:77::/48",
    ),
    ("IPv6 behind a branch, the plane over IPv4", OFFICE, "peer 2000::/3"),
    ("unique local addresses behind a branch", CLOUD, "peer fc00::/7"),
    ("one public address behind a peer", CLOUD, "peer 203.0.113.77/32"),
    (
        "a public network behind a peer",
        CLOUD,
        "peer 192.0.2.0/24 2001:db8:77::/48",
    ),
    ("a pool of one address", OFFICE, "wg 10.77.0.1/32; peer 10.77.0.2/32"),
    (
        "a small pool inside a large network of others",
        INSIDE,
        "wg 10.1.3.1/28",
    ),
    (
        "a large pool around the host's own network",
        INSIDE,
        "wg 10.2.0.1/16; peer 10.3.0.0/16",
    ),
    (
        "a host without a default route",
        "link eth0 10.1.2.5/24; plane 10.1.2.7 10.1.2.7; wg 10.8.0.1/24",
        "peer 10.0.0.0/8 0.0.0.0/1",
    ),
];

#[test]
fn no_legitimate_set_up_is_refused_anything() {
    let refused: Vec<String> = SETUPS
        .iter()
        .filter_map(|(name, host, peculiar)| {
            let judgement = Setup::parse(&format!("{host}; {peculiar}")).judge();
            let refused = (!judgement.addresses.is_empty() || !judgement.networks.is_empty()).then_some(judgement);
            refused.map(|judgement| format!("{name}: {judgement:?}"))
        })
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}
