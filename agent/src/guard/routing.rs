//! The kernel's route lookup for the host's own packets, as a pure function.
//!
//! Owns the order of rules and the longest-prefix match within a table. It must not read or change the host:
//! `host::network` reads the rules and routes.

use std::net::IpAddr;

use ipnet::IpNet;

/// `RT_TABLE_MAIN` of `linux/rtnetlink.h`: the table of our routes.
pub const MAIN_TABLE: u32 = 254;

/// A policy rule, as `ip rule` lists it (`struct fib_rule_hdr`, `linux/fib_rules.h`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Rules are evaluated in ascending order of priority.
    pub priority: u32,
    /// True for a rule on IPv6 packets.
    pub ipv6: bool,
    /// The effect on a packet that matches.
    pub action: RuleAction,
    /// The packets it matches.
    pub selector: Selector,
}

/// The effect of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleAction {
    /// The packet is looked up in a table. A match whose prefix is not longer than `suppress_up_to` does not
    /// count (`suppress_prefixlength`).
    Table {
        /// The table's number.
        table: u32,
        /// The length of the longest prefix that does not count.
        suppress_up_to: Option<u8>,
    },
    /// Evaluation continues at the rule with this priority.
    Goto(u32),
    /// Nothing (`nop`).
    Nothing,
    /// The packet is dropped: `blackhole`, `unreachable` or `prohibit`.
    Drop,
}

/// The packets that a rule matches. Only the part that the host's own unmarked, unbound packets can be judged by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// Packets to these destinations; every packet if `None`.
    Destination(Option<IpNet>),
    /// Packets to other destinations.
    NotDestination(IpNet),
    /// No packet that the host sends unmarked, from an address that the lookup is yet to choose.
    Never,
}

impl Selector {
    fn matches(&self, address: IpAddr) -> bool {
        match self {
            Self::Destination(None) => true,
            Self::Destination(Some(network)) => network.contains(&address),
            Self::NotDestination(network) => !network.contains(&address),
            Self::Never => false,
        }
    }
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteEntry {
    /// The number of its table.
    pub table: u32,
    /// The destinations.
    pub network: IpNet,
    /// Among routes to the same network, the one with the lowest metric is chosen (`RTA_PRIORITY`).
    pub metric: u32,
    /// The path of a packet to them.
    pub path: Path,
}

/// The path that a route gives to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// It is delivered on this host.
    Local,
    /// It leaves by the link with this index, through a gateway if there is one.
    Link {
        /// The link's index.
        index: u32,
        /// The address of the gateway.
        gateway: Option<IpAddr>,
    },
    /// It is dropped: `blackhole`, `unreachable` or `prohibit`.
    Dropped,
    /// The lookup leaves the table without a match (`throw`).
    Throw,
}

/// Returns the route that the kernel would choose for a packet of this host to `address`; `None` if no rule leads to
/// one. `rules` are in the order in which the kernel lists them.
#[must_use]
pub fn lookup<'a>(
    rules: &[Rule],
    routes: impl Iterator<Item = &'a RouteEntry> + Clone,
    address: IpAddr,
) -> Option<&'a RouteEntry> {
    let mut from = 0;
    for rule in rules.iter().filter(|rule| rule.ipv6 == address.is_ipv6()) {
        if rule.priority < from || !rule.selector.matches(address) {
            continue;
        }
        match rule.action {
            RuleAction::Nothing => {}
            RuleAction::Goto(priority) => from = priority,
            RuleAction::Drop => return None,
            RuleAction::Table { table, suppress_up_to } => {
                let found = best(routes.clone().filter(|route| route.table == table), address);
                let counts =
                    |route: &&RouteEntry| suppress_up_to.is_none_or(|longest| route.network.prefix_len() > longest);
                match found.filter(counts) {
                    Some(route) if route.path == Path::Throw => {}
                    Some(route) => return Some(route),
                    None => {}
                }
            }
        }
    }
    None
}

/// The longest match in one table; the first of several that are equal.
fn best<'a>(routes: impl Iterator<Item = &'a RouteEntry>, address: IpAddr) -> Option<&'a RouteEntry> {
    let matching = routes.filter(|route| route.network.contains(&address));
    matching.reduce(|best, route| {
        let rank = |route: &RouteEntry| (route.network.prefix_len(), std::cmp::Reverse(route.metric));
        if rank(route) > rank(best) { route } else { best }
    })
}
