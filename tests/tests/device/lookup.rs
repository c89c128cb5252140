//! The guard's route lookup, compared with the kernel's own (`ip route get`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use sentrazone_agent::guard::routing::{Path, lookup};
use sentrazone_agent::host::Host as _;

use crate::Lab;

/// The set-up of a host's network, one `ip` command per line.
const BASE: &str = "link add eth0 type dummy
link add eth1 type dummy
link set eth0 up
link set eth1 up
addr add 192.168.1.5/24 dev eth0
addr add 10.1.2.5/16 dev eth1
addr add 2001:db8:1::5/64 dev eth0 nodad
route add default via 192.168.1.1
route add default via 10.1.0.1 metric 100
route add default via 2001:db8:1::1
route add 198.51.100.0/24 via 10.1.0.9
route add 198.51.100.64/26 via 192.168.1.9
route add unreachable 203.0.113.0/28
route add blackhole 2001:db8:bad::/48
route add 198.51.100.0/24 via 192.168.1.7 table 100
route add throw 198.51.100.128/25 table 100
route add default via 10.1.0.77 table 101
route add 2001:db8:2::/48 via 2001:db8:1::2 table 102";

/// Further policy rules, tried one after the other.
const RULES: [&str; 9] = [
    "",
    "rule add priority 1000 lookup 100",
    "rule add priority 1000 to 198.51.100.0/25 lookup 101",
    "rule add priority 1000 not to 198.51.100.0/25 lookup 101",
    "rule add priority 1000 fwmark 0x51 lookup 101",
    "rule add priority 1000 not fwmark 0x51 lookup 101",
    "rule add priority 1000 lookup main suppress_prefixlength 0\nrule add priority 1001 lookup 101",
    "rule add priority 1000 from 192.168.1.5 lookup 101\nrule add priority 1001 iif eth0 lookup 101\nrule add priority 1002 \
     uidrange 70000-70001 lookup 101\n-6 rule add priority 1000 lookup 102",
    "rule add priority 1000 to 198.51.100.0/24 goto 33000\nrule add priority 33000 lookup 101\nrule add priority 1003 to \
     192.0.2.0/24 prohibit",
];

const ADDRESSES: [&str; 17] = [
    "192.168.1.5",
    "192.168.1.9",
    "10.1.200.1",
    "10.2.0.1",
    "198.51.100.1",
    "198.51.100.70",
    "198.51.100.200",
    "203.0.113.7",
    "203.0.113.77",
    "192.0.2.1",
    "8.8.8.8",
    "127.0.0.1",
    "2001:db8:1::5",
    "2001:db8:1::77",
    "2001:db8:2::1",
    "2001:db8:bad::1",
    "2001:db8:ffff::1",
];

#[test]
fn the_guards_lookup_agrees_with_the_kernel() {
    for rules in RULES {
        let mut lab = Lab::with_interface();
        let lines = BASE.lines().chain(rules.lines()).map(str::trim);
        // `ip -6` has no equivalent within a batch.
        let (with_family, lines): (Vec<&str>, Vec<&str>) = lines
            .filter(|line| !line.is_empty())
            .partition(|line| line.starts_with("-6"));
        lab.namespace.ip(&lines);
        for line in with_family {
            let words: Vec<&str> = ["ip"].into_iter().chain(line.split_whitespace()).collect();
            lab.namespace.exec(&words);
        }
        let addresses = ADDRESSES.map(|address| address.parse::<IpAddr>().unwrap());
        let name = lab.name.clone();
        let network = lab.host.network(&name, &addresses).unwrap();
        let (links, expected) = (links(&lab), kernel_lookups(&lab, &addresses));
        for address in addresses {
            let found = lookup(&network.rules, network.routes.iter(), address).map(|route| route.path);
            let shown = match found {
                Some(Path::Local) => "local".to_owned(),
                Some(Path::Link { index, gateway }) => {
                    let via = gateway.map(|gateway| format!(" via {gateway}")).unwrap_or_default();
                    format!("dev {}{via}", links[&index])
                }
                Some(Path::Dropped | Path::Throw) | None => "nowhere".to_owned(),
            };
            let expected = expected.get(&address).map_or("nowhere", String::as_str);
            assert_eq!(shown, expected, "{address} with the rules {rules:?}");
        }
    }
}

/// Returns the names of the links by their indexes.
fn links(lab: &Lab) -> BTreeMap<u32, String> {
    let text = lab.namespace.exec(&["ip", "-o", "link"]);
    let link = |line: &str| {
        let (index, rest) = line.split_once(": ").unwrap();
        let name = rest.split([':', '@']).next().unwrap();
        (index.parse().unwrap(), name.to_owned())
    };
    text.lines().map(link).collect()
}

/// Returns the kernel's choices for packets of the host: `local`, `dev LINK` or `dev LINK via GATEWAY`. An address to which
/// it sends nothing is left out.
fn kernel_lookups(lab: &Lab, addresses: &[IpAddr]) -> BTreeMap<IpAddr, String> {
    let queries: Vec<String> = addresses
        .iter()
        .map(|address| format!("route get {address}\n"))
        .collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), queries.concat()).unwrap();
    let output = lab
        .namespace
        .command("ip")
        .args(["-o", "-force", "-batch", &file.path().display().to_string()])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(choice).collect()
}

/// Returns the address and the choice in a line of `ip -o route get`; `None` for a route that drops packets.
fn choice(line: &str) -> Option<(IpAddr, String)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let address = words.iter().find_map(|word| word.parse::<IpAddr>().ok())?;
    let value = |key: &str| words.iter().position(|word| *word == key).map(|at| words[at + 1]);
    if words
        .iter()
        .any(|word| ["unreachable", "blackhole", "prohibit"].contains(word))
    {
        return None;
    }
    let choice = match value("dev") {
        Some("lo") | None => "local".to_owned(),
        Some(link) => {
            let via = value("via")
                .map(|gateway| format!(" via {gateway}"))
                .unwrap_or_default();
            format!("dev {link}{via}")
        }
    };
    Some((address, choice))
}
