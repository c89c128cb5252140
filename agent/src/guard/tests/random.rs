//! Random hosts and records: no sequence of changes takes away a way that the host had.

use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;

use super::setup::Setup;
use crate::guard::routing::{MAIN_TABLE, Path, RouteEntry, RuleAction, Selector};

/// A few addresses close to each other, so that networks, gateways and planes meet.
fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..3_u8, 0..3_u8, 0..6_u8).prop_map(|(b, c, d)| format!("10.{b}.{c}.{d}")),
        (0..3_u8, 0..6_u8).prop_map(|(c, d)| format!("fd00:0:0:{c}::{d}")),
    ]
}

fn network() -> impl Strategy<Value = IpNet> {
    (address(), 0..=32_u8).prop_map(|(address, length)| {
        let address: IpAddr = address.parse().unwrap();
        let length = if address.is_ipv6() {
            64 + length.saturating_mul(2)
        } else {
            length
        };
        IpNet::new(address, length).unwrap()
    })
}

/// One statement about the host or the record; a sequence of them is a sequence of changes.
fn statement() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => (0..2_u8, network()).prop_map(|(link, network)| format!("link eth{link} {network}")),
        2 => (0..2_u8, address(), 0..2_u32).prop_map(|(link, gateway, metric)| format!("gateway eth{link} {gateway} {metric}")),
        1 => (network(), 0..2_u8, prop_oneof![Just(MAIN_TABLE), Just(100)])
            .prop_map(|(network, link, table)| format!("route {} eth{link} table {table}", network.trunc())),
        1 => (0..3_u32, prop_oneof![Just("".to_owned()), Just(" suppress 0".to_owned()), Just(" marked".to_owned()), network().prop_map(|to| format!(" to {}", to.trunc()))], prop_oneof![Just(MAIN_TABLE), Just(100)])
            .prop_map(|(step, more, table)| format!("rule {} table {table}{more}", 32_000 + step * 500)),
        2 => address().prop_map(|plane| format!("plane p {plane}")),
        1 => address().prop_map(|resolver| format!("resolver {resolver}")),
        2 => network().prop_map(|pool| format!("wg {pool}")),
        4 => network().prop_map(|network| format!("peer {}", network.trunc())),
    ]
}

/// The way of the host's packets to `address`, found by trying every route: written apart from the guard's lookup.
fn way(setup: &Setup, ours: &[RouteEntry], address: IpAddr) -> Option<Path> {
    for rule in &setup.network.rules {
        let applies = rule.ipv6 == address.is_ipv6()
            && match &rule.selector {
                Selector::Destination(to) => to.is_none_or(|to| to.contains(&address)),
                Selector::NotDestination(to) => !to.contains(&address),
                Selector::Never => false,
            };
        let RuleAction::Table { table, suppress_up_to } = rule.action else {
            continue;
        };
        if !applies {
            continue;
        }
        for length in (0..=128_u8).rev() {
            let all = setup.network.routes.iter().chain(ours);
            let mut matching: Vec<_> = all
                .filter(|route| {
                    route.table == table && route.network.prefix_len() == length && route.network.contains(&address)
                })
                .collect();
            matching.sort_by_key(|route| route.metric);
            let Some(route) = matching.first() else { continue };
            if suppress_up_to.is_some_and(|longest| length <= longest) {
                break;
            }
            return Some(route.path);
        }
    }
    None
}

fn ours(setup: &Setup) -> Vec<RouteEntry> {
    let judgement = setup.judge();
    let over = |network: IpNet, table, metric, path| RouteEntry {
        table,
        network,
        metric,
        path,
    };
    let link = Path::Link {
        index: 999,
        gateway: None,
    };
    let metric = |network: &IpNet, ipv6| if network.addr().is_ipv6() { ipv6 } else { 0 };
    let mut all = Vec::new();
    for address in setup
        .addresses
        .iter()
        .filter(|address| !judgement.addresses.contains_key(address))
    {
        all.push(over(address.addr().into(), 255, 0, Path::Local));
        all.push(over(address.trunc(), MAIN_TABLE, metric(address, 256), link));
    }
    for network in setup
        .routes
        .iter()
        .filter(|network| !judgement.networks.contains_key(network))
    {
        all.push(over(*network, MAIN_TABLE, metric(network, 1024), link));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_changes_takes_away_a_way_that_the_host_had(
        changes in proptest::collection::vec(statement(), 1..24),
    ) {
        for count in 1..=changes.len() {
            let text = changes[..count].join(";");
            let setup = Setup::parse(&text);
            let ours = ours(&setup);
            let gateways = setup.network.gateways.keys().copied();
            let planes = setup.protection.planes.iter().map(|protected| protected.address);
            let others = setup.network.resolvers.iter().copied().chain(planes);
            for address in gateways.chain(others) {
                let (before, after) = (way(&setup, &[], address), way(&setup, &ours, address));
                if before.is_some() {
                    prop_assert_eq!(before, after, "{} after {}", address, text);
                }
            }
        }
    }
}
