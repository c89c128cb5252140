//! An interface's link, addresses, MTU, routes and masquerading, as `ip` and `nft` show them.

use sentrazone_agent::host::Spec;
use serde_json::Value;
use wgctl::device::Error;

use super::*;

fn networks<C: FromIterator<IpNet>>(texts: &[&str]) -> C {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn spec(addresses: &[&str], routes: &[&str], masquerade: &[&str]) -> Spec {
    Spec {
        name: "wg0".parse().unwrap(),
        addresses: networks(addresses),
        mtu: Some(1380),
        routes: networks(routes),
        masquerade: networks(masquerade),
    }
}

impl Lab {
    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.namespace.exec(words)).unwrap()
    }

    /// Returns the interface's addresses except link-local ones.
    fn addresses(&self) -> BTreeSet<String> {
        let shown = self.json(&["ip", "-j", "address", "show", "dev", "wg0"]);
        let infos = shown[0]["addr_info"].as_array().unwrap();
        infos
            .iter()
            .filter(|info| info["scope"] == "global")
            .map(|info| format!("{}/{}", info["local"].as_str().unwrap(), info["prefixlen"]))
            .collect()
    }

    /// Returns the routes that the agent has created over the interface.
    fn routes(&self) -> BTreeSet<String> {
        let mut routes = BTreeSet::new();
        for family in ["-4", "-6"] {
            let words = ["ip", "-j", family, "route", "show", "dev", "wg0", "proto", "115"];
            let shown = self.json(&words);
            let destinations = shown.as_array().unwrap().iter();
            routes.extend(destinations.map(|route| route["dst"].as_str().unwrap().to_owned()));
        }
        routes
    }

    fn tables(&self) -> String {
        self.namespace.exec(&["nft", "list", "ruleset"])
    }
}

#[test]
fn a_link_is_created_only_once() {
    let mut lab = Lab::new();
    assert!(lab.host.create_link(&lab.name).unwrap());
    assert!(!lab.host.create_link(&lab.name).unwrap());
    let shown = lab.json(&["ip", "-j", "-d", "link", "show", "dev", "wg0"]);
    assert_eq!(shown[0]["linkinfo"]["info_kind"], "wireguard");
}

#[test]
fn a_foreign_interface_with_the_same_name_is_refused_and_kept() {
    let mut lab = Lab::new();
    lab.namespace.exec(&["ip", "link", "add", "wg0", "type", "dummy"]);
    let refusals = [
        lab.host.create_link(&lab.name).unwrap_err(),
        lab.host.delete_link(&lab.name).unwrap_err(),
        lab.kernel.read(&lab.name).unwrap_err(),
    ];
    for refusal in refusals {
        assert!(matches!(refusal, Error::NotWireguard(_)), "{refusal}");
    }
    lab.namespace.exec(&["ip", "link", "show", "dev", "wg0"]);
}

#[test]
fn addresses_mtu_and_routes_are_configured_only_once() {
    let mut lab = Lab::with_interface();
    let wanted = spec(
        &["10.8.0.1/24", "fd00:8::1/64"],
        &["10.8.0.7/32", "192.168.7.0/24", "fd00:9::/64", "0.0.0.0/0"],
        &[],
    );
    let writes = lab.host.configure(&wanted).unwrap();
    assert_eq!(writes, 6, "expected two addresses, MTU, up and two routes");
    assert_eq!(
        lab.addresses(),
        ["10.8.0.1/24", "fd00:8::1/64"].map(str::to_owned).into()
    );
    assert_eq!(
        lab.routes(),
        ["192.168.7.0/24", "fd00:9::/64"].map(str::to_owned).into()
    );
    let link = lab.json(&["ip", "-j", "link", "show", "dev", "wg0"]);
    assert_eq!(link[0]["mtu"], 1380);
    assert!(link[0]["flags"].as_array().unwrap().contains(&"UP".into()));
    assert_eq!(lab.host.configure(&wanted).unwrap(), 0);
}

#[test]
fn obsolete_configuration_is_removed_and_external_configuration_is_kept() {
    let mut lab = Lab::with_interface();
    let before = spec(&["10.8.0.1/24"], &["192.168.7.0/24", "192.168.8.0/24"], &[]);
    lab.host.configure(&before).unwrap();
    lab.namespace
        .exec(&["ip", "route", "add", "172.16.0.0/16", "dev", "wg0"]);
    lab.namespace
        .exec(&["ip", "address", "add", "fe80::7/64", "dev", "wg0", "nodad"]);
    let after = spec(&["10.9.0.1/24"], &["192.168.8.0/24"], &[]);
    lab.host.configure(&after).unwrap();
    assert_eq!(lab.addresses(), ["10.9.0.1/24".to_owned()].into());
    assert_eq!(lab.routes(), ["192.168.8.0/24".to_owned()].into());
    let addresses = lab.namespace.exec(&["ip", "address", "show", "dev", "wg0"]);
    assert!(addresses.contains("fe80::7/64"), "{addresses}");
    let routes = lab.namespace.exec(&["ip", "route", "show", "dev", "wg0"]);
    assert!(routes.contains("172.16.0.0/16"), "{routes}");
    assert_eq!(lab.host.configure(&after).unwrap(), 0);
}

#[test]
fn an_address_that_the_kernel_removes_along_with_another_is_restored() {
    let mut lab = Lab::with_interface();
    let before = spec(&["10.8.0.1/24", "10.8.0.2/24", "10.8.0.3/24"], &["192.168.7.0/24"], &[]);
    lab.host.configure(&before).unwrap();
    let after = spec(&["10.8.0.3/24"], &["192.168.7.0/24"], &[]);
    lab.host.configure(&after).unwrap();
    assert_eq!(lab.addresses(), ["10.8.0.3/24".to_owned()].into());
    assert_eq!(lab.routes(), ["192.168.7.0/24".to_owned()].into());
    assert_eq!(lab.host.configure(&after).unwrap(), 0);
}

#[test]
fn a_missing_interface_cannot_be_configured() {
    let mut lab = Lab::new();
    let error = lab.host.configure(&spec(&[], &[], &[])).unwrap_err();
    assert!(matches!(error, Error::NoInterface(_)), "{error}");
}

#[test]
fn the_pool_is_masqueraded_in_a_separate_table() {
    let mut lab = Lab::with_interface();
    lab.namespace.exec(&["nft", "add", "table", "inet", "admins"]);
    let wanted = spec(&["10.8.0.1/24"], &[], &["10.8.0.0/24", "fd00:8::/64", "10.9.0.1/32"]);
    lab.host.configure(&wanted).unwrap();
    let table = lab.namespace.exec(&["nft", "list", "table", "inet", "sentrazone-wg0"]);
    for rule in [
        "type nat hook postrouting priority srcnat; policy accept;",
        "ip saddr 10.8.0.0/24 oifname != \"wg0\" masquerade",
        "ip6 saddr fd00:8::/64 oifname != \"wg0\" masquerade",
        "ip saddr 10.9.0.1 oifname != \"wg0\" masquerade",
    ] {
        assert!(table.contains(rule), "{rule}\n{table}");
    }
    assert_eq!(lab.host.configure(&wanted).unwrap(), 0);

    lab.namespace
        .exec(&["nft", "flush", "chain", "inet", "sentrazone-wg0", "postrouting"]);
    assert_eq!(lab.host.configure(&wanted).unwrap(), 1, "the drift was not repaired");
    assert_eq!(lab.tables().matches("masquerade").count(), 3);

    lab.host.release(&lab.name).unwrap();
    assert!(!lab.tables().contains("sentrazone"));
    assert!(lab.tables().contains("admins"));
    assert_eq!(lab.addresses(), ["10.8.0.1/24".to_owned()].into());
    lab.host.release(&lab.name).unwrap();
}

#[test]
fn the_table_is_removed_when_nothing_is_to_be_masqueraded() {
    let mut lab = Lab::with_interface();
    lab.host.configure(&spec(&[], &[], &["10.8.0.0/24"])).unwrap();
    assert_eq!(lab.host.configure(&spec(&[], &[], &[])).unwrap(), 1);
    assert!(!lab.tables().contains("sentrazone"));
    assert_eq!(lab.host.configure(&spec(&[], &[], &[])).unwrap(), 0);
}

/// Creates a namespace that is connected to `lab` by a veth pair, with an IPv4 and an IPv6 address at both ends.
fn neighbour(lab: &Lab, device: &str, routers: [&str; 2], own: [&str; 2]) -> Netns {
    let neighbour = Netns::new();
    lab.namespace.exec(&[
        "ip",
        "link",
        "add",
        device,
        "type",
        "veth",
        "peer",
        "name",
        "eth0",
        "netns",
        neighbour.name(),
    ]);
    for (namespace, device, addresses) in [(&lab.namespace, device, routers), (&neighbour, "eth0", own)] {
        namespace.exec(&["ip", "link", "set", device, "up"]);
        namespace.exec(&["ip", "address", "add", addresses[0], "dev", device]);
        namespace.exec(&["ip", "address", "add", addresses[1], "dev", device, "nodad"]);
    }
    neighbour
}

#[test]
fn replies_to_masqueraded_packets_are_delivered() {
    let mut lab = Lab::with_interface();
    let inside = neighbour(
        &lab,
        "in0",
        ["10.8.0.1/24", "fd00:8::1/64"],
        ["10.8.0.2/24", "fd00:8::2/64"],
    );
    let outside = neighbour(
        &lab,
        "out0",
        ["192.0.2.1/24", "fd00:9::1/64"],
        ["192.0.2.2/24", "fd00:9::2/64"],
    );
    inside.exec(&["ip", "route", "add", "default", "via", "10.8.0.1"]);
    inside.exec(&["ip", "route", "add", "default", "via", "fd00:8::1"]);
    for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        std::fs::write(format!("/proc/sys/net/{switch}"), "1").unwrap();
    }
    let reaches = |target: &str| inside.succeeds(&["ping", "-c", "1", "-W", "2", target]);
    assert!(!reaches("192.0.2.2"), "the outside network has a route back");
    let wanted = spec(&[], &[], &["10.8.0.0/24", "fd00:8::/64"]);
    lab.host.configure(&wanted).unwrap();
    assert!(reaches("192.0.2.2") && reaches("fd00:9::2"));
    lab.host.release(&lab.name).unwrap();
    assert!(!reaches("fd00:9::2"));
    drop(outside);
}

#[test]
fn an_address_or_route_that_the_host_refuses_does_not_block_the_others() {
    let mut lab = Lab::with_interface();
    lab.namespace.exec(&["ip", "link", "add", "lan0", "type", "dummy"]);
    lab.namespace
        .exec(&["ip", "address", "add", "10.20.0.1/16", "dev", "lan0"]);
    lab.namespace.exec(&["ip", "link", "set", "lan0", "up"]);
    std::fs::write("/proc/sys/net/ipv6/conf/wg0/disable_ipv6", "1").unwrap();
    let wanted = spec(
        &["10.8.0.1/24", "fd00:8::1/64"],
        &["10.10.0.0/16", "10.20.0.0/16", "10.30.0.0/16"],
        &[],
    );
    let refused = lab.host.configure(&wanted).unwrap_err().to_string();
    assert!(refused.contains("fd00:8::1"), "{refused}");
    assert_eq!(lab.addresses(), BTreeSet::from(["10.8.0.1/24".to_owned()]));
    let link = lab.json(&["ip", "-j", "link", "show", "dev", "wg0"]);
    assert!(link[0]["flags"].as_array().unwrap().contains(&"UP".into()), "{link}");
    let routes = BTreeSet::from(["10.10.0.0/16".to_owned(), "10.30.0.0/16".to_owned()]);
    assert!(lab.routes().is_superset(&routes), "{:?}", lab.routes());
}
