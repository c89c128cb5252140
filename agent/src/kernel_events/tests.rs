//! Tests of the selection of notifications, and of the rate of wake-ups.

use netlink_packet_core::NetlinkHeader;
use rtnetlink::packet_route::address::AddressMessage;

use super::*;

fn target() -> Target {
    Target {
        name: "wg0".parse().unwrap(),
        index: Some(7),
    }
}

fn bytes(message: RouteNetlinkMessage) -> Vec<u8> {
    let mut message = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn link(index: u32, name: &str) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.attributes.push(LinkAttribute::IfName(name.to_owned()));
    link
}

fn route(protocol: u8, index: u32) -> RouteMessage {
    let mut route = RouteMessage::default();
    route.header.protocol = protocol.into();
    route.header.table = RouteHeader::RT_TABLE_MAIN;
    route.attributes.push(RouteAttribute::Oif(index));
    route
}

fn address(index: u32) -> AddressMessage {
    let mut address = AddressMessage::default();
    address.header.index = index;
    address
}

#[test]
fn only_events_on_the_agents_interface_are_relevant() {
    use RouteNetlinkMessage::{DelAddress, DelLink, DelRoute, NewAddress, NewLink, NewRoute};
    for (message, about) in [
        (DelLink(link(7, "wg0")), true),
        (NewLink(link(9, "wg0")), true),
        (NewLink(link(7, "renamed")), true),
        (NewLink(link(8, "eth0")), false),
        (DelAddress(address(7)), true),
        (NewAddress(address(7)), true),
        (DelAddress(address(8)), false),
        (DelRoute(route(115, 7)), true),
        (DelRoute(route(115, 8)), false),
        (DelRoute(route(4, 7)), false),
        (NewRoute(route(115, 7)), false),
    ] {
        let said = format!("{message:?}");
        let mut datagram = bytes(NewLink(link(8, "eth0")));
        datagram.extend(bytes(message));
        assert_eq!(is_about(&target(), &datagram), about, "{said}");
    }
}

#[test]
fn a_malformed_datagram_is_ignored() {
    let whole = bytes(RouteNetlinkMessage::DelLink(link(8, "eth0")));
    for length in 0..whole.len() {
        assert!(!is_about(&target(), &whole[..length]));
    }
    assert!(!is_about(&target(), &[0; 64]));
}

#[test]
fn only_the_agents_own_table_is_relevant() {
    assert!(names_our_table(&target(), b"..\0sentrazone-wg0\0.."));
    assert!(!names_our_table(&target(), b"..\0sentrazone-wg01\0.."));
    assert!(!names_our_table(&target(), b""));
}

#[test]
fn the_first_event_wakes_the_reconciler_at_once_and_later_ones_once_per_second() {
    let (mut pace, start) = (Pace::default(), Instant::now());
    assert_eq!(pace.patience(start), None);
    assert!(!pace.take(start));
    pace.stirred = true;
    assert!(pace.take(start), "the first event wakes the reconciler immediately");
    let mut woken = 0;
    for tenth in 1..=30 {
        pace.stirred = true;
        woken += u32::from(pace.take(start + Duration::from_millis(tenth * 100)));
    }
    assert_eq!(woken, 3);
    pace.stirred = true;
    let left = pace.patience(start + Duration::from_millis(3_400)).unwrap();
    assert_eq!(
        left,
        Duration::from_millis(600),
        "an event during the interval is not lost"
    );
}
