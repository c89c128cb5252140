//! Userspace WireGuard (wireguard-go, boringtun) over its control socket, through `wireguard-control`.
//!
//! Owns the translation between the types of that crate and Sentrazone's, and the rule that no process is
//! ever started. `wireguard-control` starts wireguard-go by itself if no socket answers, so each call first
//! checks that one does. It must not be used for kernel interfaces.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use wireguard_control as control;

use super::backend::{Backend, Error};
use super::model::{Device, Peer};
use super::plan::{ChangeKind, PeerChange, Plan};
use crate::key::{KEY_LEN, PresharedKey, PrivateKey, PublicKey};
use crate::name::InterfaceName;
use crate::time::Timestamp;

/// The directories of the control sockets, in the order in which `wireguard-control` searches them.
const FOLDERS: [&str; 2] = ["/var/run/wireguard", "/run/wireguard"];
/// `EINVAL`, to which `wireguard-control` maps every refusal.
const EINVAL: i32 = 22;

/// The interfaces of userspace WireGuard processes on this host.
#[derive(Debug, Default)]
pub struct Userspace(());

impl Userspace {
    /// Creates the backend. It needs no connection, because each call makes its own.
    #[must_use]
    pub const fn new() -> Self {
        Self(())
    }
}

impl Backend for Userspace {
    fn read(&mut self, interface: &InterfaceName) -> Result<Option<Device>, Error> {
        if !socket(interface).exists() {
            return Ok(None);
        }
        answering(interface)?;
        let what = || format!("reading {interface}");
        let name = control_name(interface, what)?;
        let device = control::Device::get(&name, control::Backend::Userspace)
            .map_err(|error| io_error(interface, error, what))?;
        Ok(Some(translate(device)))
    }

    fn apply(&mut self, interface: &InterfaceName, plan: &Plan) -> Result<(), Error> {
        if plan.is_empty() {
            return Ok(());
        }
        let what = || format!("changing {interface}");
        let name = control_name(interface, what)?;
        // The crate cannot restrict a change to existing peers, so updates of peers that no longer exist are left out.
        let present = self
            .read(interface)?
            .ok_or_else(|| Error::NoInterface(interface.clone()))?;
        answering(interface)?;
        update(plan, &present)
            .apply(&name, control::Backend::Userspace)
            .map_err(|error| io_error(interface, error, what))
    }
}

/// Returns the interfaces that have a control socket, sorted. It does not check that a process answers on the
/// socket.
#[must_use]
pub fn interfaces() -> Vec<InterfaceName> {
    // If there are no sockets, there may be no directory either.
    let entries = std::fs::read_dir(folder()).into_iter().flatten().flatten();
    let name = |entry: std::fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".sock")?.parse().ok();
    let mut names: Vec<InterfaceName> = entries.filter_map(name).collect();
    names.sort();
    names
}

fn folder() -> &'static Path {
    let [preferred, other] = FOLDERS.map(Path::new);
    if preferred.exists() { preferred } else { other }
}

fn socket(interface: &InterfaceName) -> PathBuf {
    folder().join(format!("{interface}.sock"))
}

/// Checks that a process answers on the interface's control socket. The error names the command that starts one.
fn answering(interface: &InterfaceName) -> Result<(), Error> {
    let path = socket(interface);
    UnixStream::connect(&path).map(drop).map_err(|source| {
        if source.kind() == io::ErrorKind::PermissionDenied {
            return Error::NoPermission;
        }
        unanswered(interface, &source)
    })
}

fn unanswered(interface: &InterfaceName, source: &io::Error) -> Error {
    let advice = format!(
        "no userspace WireGuard answers on {}: start it with `wireguard-go {interface}` ({source})",
        socket(interface).display()
    );
    Error::Io {
        what: format!("reaching {interface}"),
        source: io::Error::new(source.kind(), advice),
    }
}

fn control_name(interface: &InterfaceName, what: impl FnOnce() -> String) -> Result<control::InterfaceName, Error> {
    interface.as_str().parse().map_err(|_| Error::Protocol {
        what: what(),
        message: "wireguard-control does not accept this interface name".to_owned(),
    })
}

fn io_error(interface: &InterfaceName, error: io::Error, what: impl FnOnce() -> String) -> Error {
    match error.kind() {
        // The process ended after it had accepted the connection.
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            unanswered(interface, &error)
        }
        io::ErrorKind::PermissionDenied => Error::NoPermission,
        io::ErrorKind::InvalidInput => Error::Refused {
            what: what(),
            message: "userspace WireGuard refused it: see its log".to_owned(),
            errno: error.raw_os_error().unwrap_or(EINVAL),
        },
        _ => Error::Io {
            what: what(),
            source: error,
        },
    }
}

fn update(plan: &Plan, present: &Device) -> control::DeviceUpdate {
    let Plan {
        private_key,
        listen_port,
        fwmark,
        peers,
    } = plan;
    let mut update = control::DeviceUpdate::new();
    if let Some(key) = private_key {
        update = update.set_private_key(control::Key(*key.as_bytes()));
    }
    if let Some(port) = listen_port {
        update = update.set_listen_port(*port);
    }
    if let Some(mark) = fwmark {
        update = update.set_fwmark(*mark);
    }
    let known =
        |change: &&PeerChange| change.kind != ChangeKind::Update || present.peers.contains_key(&change.public_key);
    let peers: Vec<_> = peers.iter().filter(known).map(peer_update).collect();
    update.add_peers(&peers)
}

fn peer_update(change: &PeerChange) -> control::PeerConfigBuilder {
    let PeerChange {
        public_key,
        kind,
        preshared_key,
        persistent_keepalive,
        endpoint,
        replace_allowed_ips,
        allowed_ips,
    } = change;
    let mut peer = control::PeerConfigBuilder::new(&control::Key(*public_key.as_bytes()));
    if *kind == ChangeKind::Remove {
        return peer.remove();
    }
    if let Some(preshared) = preshared_key {
        let bytes = preshared.as_ref().map_or([0; KEY_LEN], |key| *key.as_bytes());
        peer = peer.set_preshared_key(control::Key(bytes));
    }
    if let Some(endpoint) = endpoint {
        peer = peer.set_endpoint(*endpoint);
    }
    if let Some(seconds) = persistent_keepalive {
        peer = peer.set_persistent_keepalive_interval(*seconds);
    }
    if *replace_allowed_ips {
        peer = peer.replace_allowed_ips();
    }
    for net in allowed_ips {
        peer = peer.add_allowed_ip(net.addr(), net.prefix_len());
    }
    peer
}

fn translate(device: control::Device) -> Device {
    Device {
        private_key: device.private_key.map(|key| PrivateKey::from_bytes(key.0)),
        listen_port: device.listen_port.unwrap_or(0),
        fwmark: device.fwmark.unwrap_or(0),
        peers: device.peers.into_iter().filter_map(translate_peer).collect(),
    }
}

fn translate_peer(info: control::PeerInfo) -> Option<(PublicKey, Peer)> {
    let control::PeerInfo { config, stats } = info;
    let key = PublicKey::from_bytes(config.public_key.0).ok()?;
    let allowed = |net: &control::AllowedIp| IpNet::new(net.address, net.cidr).ok();
    let peer = Peer {
        // The all-zero key means "no preshared key".
        preshared_key: config
            .preshared_key
            .and_then(|key| PresharedKey::from_bytes(key.0).ok()),
        persistent_keepalive: config.persistent_keepalive_interval.unwrap_or(0),
        allowed_ips: config.allowed_ips.iter().filter_map(allowed).collect(),
        endpoint: config.endpoint,
        latest_handshake: stats.last_handshake_time.map(Timestamp::from),
        rx_bytes: stats.rx_bytes,
        tx_bytes: stats.tx_bytes,
    };
    Some((key, peer))
}
