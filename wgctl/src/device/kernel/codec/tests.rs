//! Tests of messages without a kernel: nothing is lost when plans are split, and no message exceeds its limits.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use netlink_packet_wireguard::WireguardTimeSpec;

use super::*;
use crate::device::memory::Memory;
use crate::device::plan::{Scope, plan};
use crate::device::{Backend as _, DesiredDevice, DesiredPeer};

fn wg0() -> InterfaceName {
    "wg0".parse().unwrap()
}

fn key(n: u32) -> PublicKey {
    let mut bytes = [1; KEY_LEN];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    PublicKey::from_bytes(bytes).unwrap()
}

fn host(n: u32) -> IpNet {
    IpNet::new(Ipv4Addr::from(0x0a00_0000 + n).into(), 32).unwrap()
}

fn desired(peers: impl IntoIterator<Item = (u32, BTreeSet<IpNet>)>) -> DesiredDevice {
    let peer = |allowed_ips| DesiredPeer {
        preshared_key: Some(PresharedKey::from_bytes([3; KEY_LEN]).unwrap()),
        persistent_keepalive: 25,
        allowed_ips,
        endpoint: None,
    };
    DesiredDevice {
        private_key: PrivateKey::from_bytes([5; KEY_LEN]),
        listen_port: Some(51820),
        fwmark: Some(7),
        peers: peers.into_iter().map(|(n, nets)| (key(n), peer(nets))).collect(),
    }
}

/// Parses the attributes from a message's bytes, as the kernel would.
fn decode(bytes: &[u8]) -> WireguardMessage {
    GenlMessage::<WireguardMessage>::parse_with_param(bytes, 0)
        .unwrap()
        .payload
}

fn peers(message: &WireguardMessage) -> &[WireguardPeer] {
    let found = message.attributes.iter().find_map(|attribute| match attribute {
        WireguardAttribute::Peers(peers) => Some(peers.as_slice()),
        _ => None,
    });
    found.unwrap_or_default()
}

fn flags(peer: &WireguardPeer) -> WireguardPeerFlags {
    let found = peer.0.iter().find_map(|attribute| match attribute {
        WireguardPeerAttribute::Flags(flags) => Some(*flags),
        _ => None,
    });
    found.unwrap_or(WireguardPeerFlags::empty())
}

fn encoded(plan: &Plan) -> Vec<WireguardMessage> {
    messages(&wg0(), plan)
        .into_iter()
        .map(|message| {
            let bytes = message.into_bytes();
            assert!(bytes.len() < 65_000, "{} bytes", bytes.len());
            decode(&bytes)
        })
        .collect()
}

/// Reads messages that set a device as if they were the parts of a dump: both have the same attributes.
fn read_back(messages: &[WireguardMessage]) -> Device {
    let mut dump = Dump::default();
    for message in messages {
        let genl = GenlMessage::from_payload(message.clone());
        let mut bytes = vec![0; genl.buffer_len()];
        genl.emit(&mut bytes);
        dump.take(&bytes).unwrap();
    }
    dump.into_device()
}

fn assert_arrives(desired: &DesiredDevice) -> Vec<WireguardMessage> {
    let plan = plan(desired, &Device::default(), &Scope::All);
    let mut memory = Memory::new();
    memory.create(&wg0());
    memory.apply(&wg0(), &plan).unwrap();
    let sent = encoded(&plan);
    assert_eq!(read_back(&sent), memory.device(&wg0()).unwrap());
    sent
}

#[test]
fn ten_thousand_peers_arrive_in_messages_that_the_kernel_accepts() {
    let sent = assert_arrives(&desired((0..10_000).map(|n| (n, BTreeSet::from([host(n)])))));
    assert_eq!(sent.iter().map(|message| peers(message).len()).sum::<usize>(), 10_000);
    assert!(sent.len() < 40, "{} messages", sent.len());
}

#[test]
fn a_peer_with_three_thousand_allowed_ips_is_split() {
    let nets: BTreeSet<IpNet> = (0..3_000).map(host).collect();
    let sent = assert_arrives(&desired([(1, nets)]));
    let fragments: Vec<_> = sent.iter().flat_map(peers).collect();
    assert_eq!(fragments.len(), 3);
    assert_eq!(flags(fragments[0]), WireguardPeerFlags::empty());
    assert!(
        fragments[1..]
            .iter()
            .all(|peer| flags(peer) == WireguardPeerFlags::UpdateOnly)
    );
}

#[test]
fn only_the_first_fragment_replaces_the_list() {
    let change = PeerChange {
        public_key: key(1),
        kind: ChangeKind::Update,
        preshared_key: None,
        persistent_keepalive: None,
        endpoint: None,
        replace_allowed_ips: true,
        allowed_ips: (0..2_500).map(host).collect(),
    };
    let plan = Plan {
        peers: vec![change],
        ..Plan::default()
    };
    let sent = encoded(&plan);
    let fragments: Vec<_> = sent.iter().flat_map(peers).map(flags).collect();
    let (first, later) = fragments.split_first().unwrap();
    assert_eq!(
        *first,
        WireguardPeerFlags::UpdateOnly | WireguardPeerFlags::ReplaceAllowedIps
    );
    assert_eq!(later, [WireguardPeerFlags::UpdateOnly; 2]);
}

#[test]
fn removals_are_sent_first_and_two_hundred_at_a_time() {
    let mut memory = Memory::new();
    memory.create(&wg0());
    let before = desired((0..450).map(|n| (n, BTreeSet::new())));
    memory
        .apply(&wg0(), &plan(&before, &Device::default(), &Scope::All))
        .unwrap();
    let after = desired([(900, BTreeSet::new())]);
    let plan = plan(&after, &memory.device(&wg0()).unwrap(), &Scope::All);
    let sent = encoded(&plan);
    let removals = |message: &WireguardMessage| {
        peers(message)
            .iter()
            .filter(|peer| flags(peer).contains(WireguardPeerFlags::RemoveMe))
            .count()
    };
    assert_eq!(sent.iter().map(removals).collect::<Vec<_>>(), [200, 200, 50]);
    let last = sent.last().and_then(|message| peers(message).last()).unwrap();
    assert_eq!(public_key(last), Some(key(900)));
}

#[test]
fn an_empty_plan_produces_no_messages() {
    assert!(messages(&wg0(), &Plan::default()).is_empty());
}

#[test]
fn a_cleared_preshared_key_is_sent_as_thirty_two_zeros() {
    let change = PeerChange {
        public_key: key(1),
        kind: ChangeKind::Update,
        preshared_key: Some(None),
        persistent_keepalive: None,
        endpoint: None,
        replace_allowed_ips: false,
        allowed_ips: Vec::new(),
    };
    let plan = Plan {
        peers: vec![change],
        ..Plan::default()
    };
    let sent = encoded(&plan);
    let cleared = WireguardPeerAttribute::PresharedKey([0; KEY_LEN]);
    assert!(peers(&sent[0])[0].0.contains(&cleared));
    assert_eq!(
        peers(&sent[0])[0].0.len(),
        3,
        "only the key, the flags and the cleared key"
    );
}

#[test]
fn a_request_is_described_without_secrets() {
    let plan = plan(&desired([(1, BTreeSet::new())]), &Device::default(), &Scope::All);
    let what = messages(&wg0(), &plan)[0].what();
    assert_eq!(
        what,
        format!("setting the private key, port 51820, mark 0x7, peer {}", key(1))
    );
}

fn part(attributes: Vec<WireguardAttribute>) -> Vec<u8> {
    let message = GenlMessage::from_payload(WireguardMessage {
        cmd: WireguardCmd::GetDevice,
        attributes,
    });
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

#[test]
fn a_peer_that_the_kernel_has_split_is_joined_again() {
    let nets: Vec<IpNet> = (0..900).map(host).collect();
    let whole = WireguardPeer(vec![
        WireguardPeerAttribute::PublicKey(*key(1).as_bytes()),
        WireguardPeerAttribute::PresharedKey([0; KEY_LEN]),
        WireguardPeerAttribute::PersistentKeepalive(25),
        WireguardPeerAttribute::LastHandshake(WireguardTimeSpec {
            seconds: 1_800_000_000,
            nano_seconds: 5,
        }),
        WireguardPeerAttribute::RxBytes(11),
        WireguardPeerAttribute::TxBytes(12),
        allowed_ips(&nets[..300]),
    ]);
    let rest = |nets: &[IpNet]| {
        WireguardPeer(vec![
            WireguardPeerAttribute::PublicKey(*key(1).as_bytes()),
            allowed_ips(nets),
        ])
    };
    let mut dump = Dump::default();
    let first = vec![
        WireguardAttribute::ListenPort(51820),
        WireguardAttribute::Peers(vec![whole]),
    ];
    dump.take(&part(first)).unwrap();
    dump.take(&part(vec![WireguardAttribute::Peers(vec![rest(&nets[300..600])])]))
        .unwrap();
    dump.take(&part(vec![WireguardAttribute::Peers(vec![rest(&nets[600..])])]))
        .unwrap();
    let expected = Peer {
        preshared_key: None,
        persistent_keepalive: 25,
        allowed_ips: nets.into_iter().collect(),
        endpoint: None,
        latest_handshake: Some(Timestamp::from_unix(1_800_000_000)),
        rx_bytes: 11,
        tx_bytes: 12,
    };
    let device = dump.into_device();
    assert_eq!(device.peers, BTreeMap::from([(key(1), expected)]));
    assert_eq!(device.listen_port, 51820);
}

#[test]
fn values_that_the_kernel_leaves_unset_are_none() {
    let peer = WireguardPeer(vec![
        WireguardPeerAttribute::PublicKey(*key(1).as_bytes()),
        WireguardPeerAttribute::PresharedKey([0; KEY_LEN]),
        WireguardPeerAttribute::LastHandshake(WireguardTimeSpec {
            seconds: 0,
            nano_seconds: 0,
        }),
    ]);
    let zero = WireguardPeer(vec![WireguardPeerAttribute::PublicKey([0; KEY_LEN])]);
    let mut dump = Dump::default();
    dump.take(&part(vec![WireguardAttribute::Peers(vec![peer, zero])]))
        .unwrap();
    let device = dump.into_device();
    assert_eq!(device.private_key, None);
    assert_eq!(device.peers, BTreeMap::from([(key(1), Peer::default())]));
}

#[test]
fn a_malformed_part_is_an_error() {
    assert!(Dump::default().take(&[1]).is_err());
    assert!(Dump::default().take(&[0, 1, 0, 0, 9, 0, 3, 0, 1]).is_err());
}

#[test]
fn an_allowed_ip_without_its_prefix_length_is_an_error() {
    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len() + 4).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }
    let part = |prefix_length: &[u8]| {
        let family = attribute(1, &2_u16.to_ne_bytes());
        let address = attribute(2, &[10, 8, 0, 2]);
        let allowed_ip = attribute(0, &[family, address, attribute(3, prefix_length)].concat());
        let peer = [attribute(1, key(1).as_bytes()), attribute(9, &allowed_ip)].concat();
        [vec![0, 1, 0, 0], attribute(8, &attribute(0, &peer))].concat()
    };
    let mut dump = Dump::default();
    dump.take(&part(&[32])).unwrap();
    let device = dump.into_device();
    assert_eq!(device.peers[&key(1)].allowed_ips, BTreeSet::from([host(0x8_0002)]));
    assert!(Dump::default().take(&part(&[])).is_err());
}
