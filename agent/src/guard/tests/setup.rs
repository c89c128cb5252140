//! Hosts and records for the tests of the guard, written as an administrator would list them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::guard::judge::{Judgement, Wanted};
use crate::guard::network::Network;
use crate::guard::protected::{Protected, Protection, Role};
use crate::guard::routing::{MAIN_TABLE, Path, RouteEntry, Rule, RuleAction, Selector};

const LOCAL_TABLE: u32 = 255;
const DEFAULT_TABLE: u32 = 253;

/// A host and the record of its interface.
#[derive(Debug, Clone, Default)]
pub(super) struct Setup {
    pub(super) network: Network,
    pub(super) protection: Protection,
    pub(super) addresses: Vec<IpNet>,
    pub(super) routes: BTreeSet<IpNet>,
    pub(super) present: BTreeSet<IpNet>,
    links: Vec<String>,
}

impl Setup {
    /// Parses one statement a line, or a `;`: `link eth0 192.0.2.5/24`, `gateway eth0 192.0.2.1 [METRIC]`,
    /// `route NETWORK eth0 [table N]`, `rule PRIORITY table N [suppress LENGTH] [to NETWORK] [marked]`, `neighbour eth0
    /// ADDRESS`, `plane NAME ADDRESS...`, `resolver ADDRESS`, `tunnel ADDRESS`, `allow NETWORK`, `wg ADDRESS...`,
    /// `peer NETWORK...`.
    pub(super) fn parse(text: &str) -> Self {
        let mut setup = Self::default();
        for ipv6 in [false, true] {
            for (priority, table) in [(0, LOCAL_TABLE), (32_766, MAIN_TABLE), (32_767, DEFAULT_TABLE)] {
                setup.add_rule(priority, ipv6, table, None, Selector::Destination(None));
            }
        }
        setup.protection.needs_resolver = true;
        for line in text.split([';', '\n']) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let Some((statement, words)) = words.split_first() {
                setup.add(statement, words);
            }
        }
        setup.network.rules.sort_by_key(|rule| rule.priority);
        setup
    }

    fn add(&mut self, statement: &str, words: &[&str]) {
        match statement {
            "link" => words[1..]
                .iter()
                .for_each(|address| self.add_address(words[0], address.parse().unwrap())),
            "gateway" => self.add_gateway(words),
            "route" => {
                let table = words.get(3).map_or(MAIN_TABLE, |table| table.parse().unwrap());
                self.add_route(table, words[0].parse().unwrap(), 0, words[1], None);
            }
            "rule" => self.add_policy(words),
            "neighbour" => drop(
                self.network
                    .neighbours
                    .insert(words[1].parse().unwrap(), words[0].to_owned()),
            ),
            "plane" => words[1..].iter().for_each(|address| {
                self.protection.planes.insert(Protected {
                    address: address.parse().unwrap(),
                    role: Role::Plane(words[0].to_owned()),
                });
            }),
            "resolver" => drop(self.network.resolvers.insert(words[0].parse().unwrap())),
            "tunnel" => drop(self.protection.through_tunnel.insert(words[0].parse().unwrap())),
            "allow" => self.protection.allowed.push(words[0].parse().unwrap()),
            "wg" => self
                .addresses
                .extend(words.iter().map(|address| address.parse::<IpNet>().unwrap())),
            "peer" => self
                .routes
                .extend(words.iter().map(|network| network.parse::<IpNet>().unwrap())),
            other => panic!("there is no statement {other}"),
        }
    }

    fn add_address(&mut self, link: &str, address: IpNet) {
        self.network.own.insert(address.addr(), link.to_owned());
        self.network.connected.insert(address.trunc(), link.to_owned());
        self.network.routes.push(RouteEntry {
            table: LOCAL_TABLE,
            network: address.addr().into(),
            metric: 0,
            path: Path::Local,
        });
        let metric = if address.addr().is_ipv6() { 256 } else { 0 };
        if address.addr().is_ipv6() {
            self.add_route(MAIN_TABLE, "fe80::/64".parse().unwrap(), metric, link, None);
        }
        self.add_route(MAIN_TABLE, address.trunc(), metric, link, None);
    }

    fn add_gateway(&mut self, words: &[&str]) {
        let gateway: IpAddr = words[1].parse().unwrap();
        self.network.gateways.insert(gateway, words[0].to_owned());
        let all = if gateway.is_ipv6() { "::/0" } else { "0.0.0.0/0" };
        let metric = words.get(2).map_or(0, |metric| metric.parse().unwrap());
        self.add_route(MAIN_TABLE, all.parse().unwrap(), metric, words[0], Some(gateway));
    }

    fn add_route(&mut self, table: u32, network: IpNet, metric: u32, link: &str, gateway: Option<IpAddr>) {
        let known = self.links.iter().position(|known| known == link);
        let index = known.unwrap_or_else(|| {
            self.links.push(link.to_owned());
            self.links.len() - 1
        });
        self.network.routes.push(RouteEntry {
            table,
            network,
            metric,
            path: Path::Link {
                index: u32::try_from(index).unwrap() + 2,
                gateway,
            },
        });
    }

    fn add_policy(&mut self, words: &[&str]) {
        let value = |name: &str| words.iter().position(|word| *word == name).map(|at| words[at + 1]);
        let to = value("to").map(|network| network.parse().unwrap());
        let selector = match words.contains(&"marked") {
            true => Selector::Never,
            false => Selector::Destination(to),
        };
        let suppress = value("suppress").map(|length| length.parse().unwrap());
        let table = value("table").unwrap().parse().unwrap();
        for ipv6 in [false, true] {
            if to.is_none_or(|network| network.addr().is_ipv6() == ipv6) {
                self.add_rule(words[0].parse().unwrap(), ipv6, table, suppress, selector.clone());
            }
        }
    }

    fn add_rule(&mut self, priority: u32, ipv6: bool, table: u32, suppress_up_to: Option<u8>, selector: Selector) {
        self.network.rules.push(Rule {
            priority,
            ipv6,
            action: RuleAction::Table { table, suppress_up_to },
            selector,
        });
    }

    pub(super) fn judge(&self) -> Judgement {
        let wanted = Wanted {
            addresses: &self.addresses,
            routes: &self.routes,
            present: &self.present,
        };
        Judgement::of(&self.network, &self.protection, wanted)
    }
}
