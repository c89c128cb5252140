//! The parts of an interface's state that other programs can change, as independent tools print them.
//!
//! Owns the choice of these parts: everything that changes on its own (endpoints, handshakes, counters, indexes,
//! order) is left out, so that two states can be compared. It must not use the product's own code.

use crate::netns::Netns;

/// All queries in one script, because starting a program is slow in an emulated machine.
const QUESTIONS: &str = "wg show $0 dump; echo; ip -o link show dev $0; echo; \
    ip -o address show dev $0 scope global; ip route show dev $0; ip -6 route show dev $0 proto 115; nft list ruleset";

/// Returns the keys, port, peers, state, MTU, addresses and routes of an interface, and its namespace's firewall.
/// If the interface does not exist, everything but the firewall is empty.
#[must_use]
pub fn interface(namespace: &Netns, name: &str) -> Vec<String> {
    let output = namespace.command("sh").args(["-c", QUESTIONS, name]).output();
    let shown = String::from_utf8_lossy(&output.expect("a shell").stdout).into_owned();
    let mut parts = shown.splitn(3, "\n\n");
    let mut part = || parts.next().unwrap_or_default();
    let (dump, link, rest) = (part(), part(), part());
    let mut picture: Vec<String> = dump.lines().enumerate().map(|(at, line)| wireguard(at, line)).collect();
    picture.push(format!("up: {}", link.contains(",UP")));
    let mtu = link.split_once("mtu ").and_then(|(_, rest)| rest.split(' ').next());
    picture.push(format!("mtu: {mtu:?}"));
    // A link that is created again under the same name has a different index.
    let without_index = |line: &str| line.split_once(": ").map_or(line, |(_, rest)| rest).to_owned();
    picture.extend(rest.lines().map(without_index));
    picture.sort();
    picture
}

/// Returns the keys, allowed IPs and keepalive from a line of `wg show dump`. The first line describes the interface.
fn wireguard(at: usize, line: &str) -> String {
    let columns: Vec<&str> = line.split('\t').collect();
    match columns[..] {
        [key, preshared_key, _, networks, _, _, _, keepalive] if at > 0 => {
            let mut networks: Vec<&str> = networks.split(',').collect();
            networks.sort_unstable();
            format!("{key} {preshared_key} {networks:?} {keepalive}")
        }
        _ => columns.join(" "),
    }
}
