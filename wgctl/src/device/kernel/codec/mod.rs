//! The encoding of plans and the decoding of devices as messages of the kernel's WireGuard family
//! (`linux/wireguard.h`).
//!
//! Owns the splitting of plans into messages that the kernel accepts, and the joining of the parts of a dump.
//! It must not do I/O, and nothing here may be printed with `Debug`, because the messages contain keys.

use std::collections::BTreeMap;

use ipnet::IpNet;
use netlink_packet_core::{Emitable as _, NlasIterator, ParseableParametrized as _};
use netlink_packet_generic::GenlMessage;
use netlink_packet_wireguard::{
    WireguardAddressFamily, WireguardAllowedIp, WireguardAllowedIpAttr, WireguardAttribute, WireguardCmd,
    WireguardDeviceFlags, WireguardMessage, WireguardPeer, WireguardPeerAttribute, WireguardPeerFlags,
};
use zeroize::Zeroize as _;

use super::conversation::Failure;
use crate::device::model::{Device, Peer};
use crate::device::plan::{ChangeKind, PeerChange, Plan};
use crate::key::{KEY_LEN, PresharedKey, PrivateKey, PublicKey};
use crate::name::InterfaceName;
use crate::time::Timestamp;

/// The maximum size of the peers in one message, in bytes. An attribute's length has 16 bits, which the codec
/// does not check.
const MAX_PEERS_BYTES: usize = 60_000;
/// The maximum number of removals in one message. More would hold the interface's lock for too long.
const MAX_REMOVALS: usize = 200;
/// The maximum number of a peer's allowed IPs in one fragment, at most 40 bytes each.
const MAX_ALLOWED_IPS: usize = 1_000;

/// The number of bytes before the first attribute (`struct genlmsghdr`).
const GENL_HEADER: usize = 4;
/// The path to the prefix length of an allowed IP in a message, from the outermost list inwards. The members
/// of a list have no kind of their own (`WGDEVICE_A_PEERS`, `WGPEER_A_ALLOWEDIPS`,
/// `WGALLOWEDIP_A_CIDR_MASK`).
const PREFIX_LENGTH: [Option<u16>; 5] = [Some(8), None, Some(9), None, Some(3)];

/// A message to the WireGuard family. Its keys are wiped when it is dropped.
pub struct Message {
    attributes: Vec<WireguardAttribute>,
    command: WireguardCmd,
    peers: usize,
}

impl Message {
    /// Describes the request for an error message.
    #[must_use]
    pub fn what(&self) -> String {
        let settings = self.attributes.iter().filter_map(|attribute| match attribute {
            WireguardAttribute::PrivateKey(_) => Some("the private key".to_owned()),
            WireguardAttribute::ListenPort(port) => Some(format!("port {port}")),
            WireguardAttribute::Fwmark(mark) => Some(format!("mark {mark:#x}")),
            _ => None,
        });
        let peers = match self.peers {
            0 => None,
            1 => self.only_peer().or(Some("1 peer".to_owned())),
            count => Some(format!("{count} peers")),
        };
        let parts: Vec<String> = settings.chain(peers).collect();
        format!("setting {}", parts.join(", "))
    }

    fn only_peer(&self) -> Option<String> {
        let peers = self.attributes.iter().find_map(|attribute| match attribute {
            WireguardAttribute::Peers(peers) => peers.first(),
            _ => None,
        })?;
        public_key(peers).map(|key| format!("peer {key}"))
    }

    /// Returns the bytes that follow the netlink header.
    #[must_use]
    pub fn into_bytes(mut self) -> Vec<u8> {
        let mut message = GenlMessage::from_payload(WireguardMessage {
            cmd: self.command,
            attributes: std::mem::take(&mut self.attributes),
        });
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        wipe(&mut message.payload.attributes);
        bytes
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        wipe(&mut self.attributes);
    }
}

fn wipe(attributes: &mut [WireguardAttribute]) {
    for attribute in attributes {
        match attribute {
            WireguardAttribute::PrivateKey(key) => key.zeroize(),
            WireguardAttribute::Peers(peers) => peers.iter_mut().for_each(wipe_peer),
            _ => {}
        }
    }
}

fn wipe_peer(peer: &mut WireguardPeer) {
    for attribute in &mut peer.0 {
        if let WireguardPeerAttribute::PresharedKey(key) = attribute {
            key.zeroize();
        }
    }
}

/// Returns the request to read everything about an interface.
#[must_use]
pub fn query(interface: &InterfaceName) -> Message {
    message(WireguardCmd::GetDevice, interface)
}

/// Returns the request to remove all peers of an interface.
#[must_use]
pub fn flush(interface: &InterfaceName) -> Message {
    let mut message = message(WireguardCmd::SetDevice, interface);
    let flags = WireguardAttribute::Flags(WireguardDeviceFlags::ReplacePeers);
    message.attributes.push(flags);
    message
}

fn message(command: WireguardCmd, interface: &InterfaceName) -> Message {
    Message {
        attributes: vec![WireguardAttribute::IfName(interface.to_string())],
        command,
        peers: 0,
    }
}

/// Returns the messages that apply the steps of a plan, in order. There are none for an empty plan.
#[must_use]
pub fn messages(interface: &InterfaceName, plan: &Plan) -> Vec<Message> {
    let mut batches = Batches {
        interface,
        done: Vec::new(),
        open: Batch::default(),
    };
    for change in &plan.peers {
        fragments(change).for_each(|(peer, removes)| batches.add(peer, removes));
    }
    batches.close();
    let mut messages = batches.done;
    let settings = settings(plan);
    if !settings.is_empty() {
        if messages.is_empty() {
            messages.push(message(WireguardCmd::SetDevice, interface));
        }
        if let Some(first) = messages.first_mut() {
            // After the name and before the peers, which is the order in which the kernel applies them.
            first.attributes.splice(1..1, settings);
        }
    }
    messages
}

fn settings(plan: &Plan) -> Vec<WireguardAttribute> {
    let Plan {
        private_key,
        listen_port,
        fwmark,
        peers: _,
    } = plan;
    let key = private_key
        .as_ref()
        .map(|key| WireguardAttribute::PrivateKey(*key.as_bytes()));
    let port = listen_port.map(WireguardAttribute::ListenPort);
    let mark = fwmark.map(WireguardAttribute::Fwmark);
    key.into_iter().chain(port).chain(mark).collect()
}

/// The peers that have been collected into messages so far.
struct Batches<'a> {
    interface: &'a InterfaceName,
    done: Vec<Message>,
    open: Batch,
}

#[derive(Default)]
struct Batch {
    peers: Vec<WireguardPeer>,
    bytes: usize,
    removals: usize,
}

impl Batches<'_> {
    fn add(&mut self, peer: WireguardPeer, removes: bool) {
        let bytes = std::slice::from_ref(&peer).buffer_len();
        let full = self.open.bytes + bytes > MAX_PEERS_BYTES || (removes && self.open.removals == MAX_REMOVALS);
        if full {
            self.close();
        }
        self.open.bytes += bytes;
        self.open.removals += usize::from(removes);
        self.open.peers.push(peer);
    }

    fn close(&mut self) {
        let Batch { peers, .. } = std::mem::take(&mut self.open);
        if !peers.is_empty() {
            let mut message = message(WireguardCmd::SetDevice, self.interface);
            message.peers = peers.len();
            message.attributes.push(WireguardAttribute::Peers(peers));
            self.done.push(message);
        }
    }
}

/// Encodes one change as peers for messages, each with a flag that is true if the change is a removal. A change with
/// many allowed IPs becomes several peers. Only the first one replaces the list. The later ones only update, so that
/// they do not restore a peer that somebody has removed in the meantime.
fn fragments(change: &PeerChange) -> impl Iterator<Item = (WireguardPeer, bool)> {
    let removes = change.kind == ChangeKind::Remove;
    let (head, tail) = change
        .allowed_ips
        .split_at(change.allowed_ips.len().min(MAX_ALLOWED_IPS));
    let first = first_fragment(change, head);
    let later = tail.chunks(MAX_ALLOWED_IPS).map(|nets| {
        WireguardPeer(vec![
            WireguardPeerAttribute::PublicKey(*change.public_key.as_bytes()),
            WireguardPeerAttribute::Flags(WireguardPeerFlags::UpdateOnly),
            allowed_ips(nets),
        ])
    });
    std::iter::once(first).chain(later).map(move |peer| (peer, removes))
}

fn first_fragment(change: &PeerChange, nets: &[IpNet]) -> WireguardPeer {
    let PeerChange {
        public_key,
        kind,
        preshared_key,
        persistent_keepalive,
        endpoint,
        replace_allowed_ips,
        allowed_ips: _,
    } = change;
    let mut flags = match kind {
        ChangeKind::Create => WireguardPeerFlags::empty(),
        ChangeKind::Update => WireguardPeerFlags::UpdateOnly,
        ChangeKind::Remove => WireguardPeerFlags::RemoveMe,
    };
    if *replace_allowed_ips {
        flags |= WireguardPeerFlags::ReplaceAllowedIps;
    }
    let mut attributes = vec![
        WireguardPeerAttribute::PublicKey(*public_key.as_bytes()),
        WireguardPeerAttribute::Flags(flags),
    ];
    if let Some(preshared) = preshared_key {
        let bytes = preshared.as_ref().map_or([0; KEY_LEN], |key| *key.as_bytes());
        attributes.push(WireguardPeerAttribute::PresharedKey(bytes));
    }
    attributes.extend(endpoint.map(WireguardPeerAttribute::Endpoint));
    attributes.extend(persistent_keepalive.map(WireguardPeerAttribute::PersistentKeepalive));
    if !nets.is_empty() {
        attributes.push(allowed_ips(nets));
    }
    WireguardPeer(attributes)
}

fn allowed_ips(nets: &[IpNet]) -> WireguardPeerAttribute {
    let allowed_ip = |net: &IpNet| {
        let family = match net {
            IpNet::V4(_) => WireguardAddressFamily::Ipv4,
            IpNet::V6(_) => WireguardAddressFamily::Ipv6,
        };
        WireguardAllowedIp(vec![
            WireguardAllowedIpAttr::Family(family),
            WireguardAllowedIpAttr::IpAddr(net.addr()),
            WireguardAllowedIpAttr::Cidr(net.prefix_len()),
        ])
    };
    WireguardPeerAttribute::AllowedIps(nets.iter().map(allowed_ip).collect())
}

/// A dump whose parts are joined as they arrive. The kernel splits a peer whose allowed IPs do not fit into one
/// message. The later parts contain only the peer's key and the remaining allowed IPs.
#[derive(Default)]
pub struct Dump {
    private_key: Option<PrivateKey>,
    listen_port: u16,
    fwmark: u32,
    peers: BTreeMap<PublicKey, Peer>,
}

impl Dump {
    /// Adds the payload of one message of the dump.
    pub fn take(&mut self, part: &[u8]) -> Result<(), Failure> {
        let unreadable = || Failure::Malformed("a WireGuard message that cannot be read".to_owned());
        if !part.get(GENL_HEADER..).is_some_and(|list| holds(list, &PREFIX_LENGTH)) {
            return Err(unreadable());
        }
        let mut message = GenlMessage::<WireguardMessage>::parse_with_param(part, 0).map_err(|_| unreadable())?;
        for attribute in &message.payload.attributes {
            match attribute {
                WireguardAttribute::PrivateKey(key) => self.private_key = Some(PrivateKey::from_bytes(*key)),
                WireguardAttribute::ListenPort(port) => self.listen_port = *port,
                WireguardAttribute::Fwmark(mark) => self.fwmark = *mark,
                WireguardAttribute::Peers(peers) => peers.iter().for_each(|peer| self.take_peer(peer)),
                _ => {}
            }
        }
        wipe(&mut message.payload.attributes);
        Ok(())
    }

    /// Adds a part of a peer. The kernel accepts an all-zero public key, which no Sentrazone peer has, so
    /// such a peer is skipped.
    fn take_peer(&mut self, part: &WireguardPeer) {
        let Some(key) = public_key(part) else { return };
        let peer = self.peers.entry(key).or_default();
        for attribute in &part.0 {
            match attribute {
                // An all-zero key means that there is none.
                WireguardPeerAttribute::PresharedKey(key) => peer.preshared_key = PresharedKey::from_bytes(*key).ok(),
                WireguardPeerAttribute::PersistentKeepalive(seconds) => peer.persistent_keepalive = *seconds,
                WireguardPeerAttribute::Endpoint(endpoint) => peer.endpoint = Some(*endpoint),
                WireguardPeerAttribute::LastHandshake(time) => {
                    peer.latest_handshake = (time.seconds != 0).then(|| Timestamp::from_unix(time.seconds));
                }
                WireguardPeerAttribute::RxBytes(bytes) => peer.rx_bytes = *bytes,
                WireguardPeerAttribute::TxBytes(bytes) => peer.tx_bytes = *bytes,
                WireguardPeerAttribute::AllowedIps(nets) => peer.allowed_ips.extend(nets.iter().filter_map(network)),
                _ => {}
            }
        }
    }

    /// Returns the dumped device.
    #[must_use]
    pub fn into_device(self) -> Device {
        Device {
            private_key: self.private_key,
            listen_port: self.listen_port,
            fwmark: self.fwmark,
            peers: self.peers,
        }
    }
}

/// Returns true if every attribute at the end of the path has a value, because the crate that parses them
/// reads the first byte without checking. A list that cannot be walked is accepted here: the crate reports
/// the error.
fn holds(list: &[u8], path: &[Option<u16>]) -> bool {
    let [kind, inner @ ..] = path else {
        return !list.is_empty();
    };
    NlasIterator::new(list)
        .map_while(Result::ok)
        .filter(|attribute| kind.is_none_or(|kind| attribute.kind() == kind))
        .all(|attribute| holds(attribute.value(), inner))
}

fn public_key(peer: &WireguardPeer) -> Option<PublicKey> {
    peer.0.iter().find_map(|attribute| match attribute {
        WireguardPeerAttribute::PublicKey(key) => PublicKey::from_bytes(*key).ok(),
        _ => None,
    })
}

fn network(allowed_ip: &WireguardAllowedIp) -> Option<IpNet> {
    let mut address = None;
    let mut prefix = None;
    for attribute in &allowed_ip.0 {
        match attribute {
            WireguardAllowedIpAttr::IpAddr(ip) => address = Some(*ip),
            WireguardAllowedIpAttr::Cidr(length) => prefix = Some(*length),
            _ => {}
        }
    }
    IpNet::new(address?, prefix?).ok()
}

#[cfg(test)]
mod tests;
