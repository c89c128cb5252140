//! `show`: the WireGuard interfaces of this machine, in the style of wg(8).
//!
//! Owns the wording. It queries the kernel over netlink and userspace processes over their sockets, and needs no
//! plane. It must not show secret keys, but only whether they are set.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use clap::Args;
use serde_json::{Value, json};
use wgctl::device::kernel::Kernel;
use wgctl::device::userspace::{self, Userspace};
use wgctl::device::{Backend as _, Device, Error, Peer};
use wgctl::name::InterfaceName;
use wgctl::{PublicKey, Timestamp};

use crate::failure::Failure;
use crate::terminal::output::Output;
use crate::terminal::text::{bytes, duration, join};

/// The directory in which the kernel lists the interfaces of the current network namespace.
pub(crate) const INTERFACES: &str = "/sys/class/net";

#[derive(Args)]
pub(crate) struct Show {
    /// Show only this interface
    interface: Option<InterfaceName>,
}

impl Show {
    pub(crate) fn run(self, out: &Output) -> Result<(), Failure> {
        let mut kernel = Kernel::open().map_err(|error| local(&error))?;
        let devices = match self.interface {
            Some(name) => {
                let device = one(&mut kernel, &name).map_err(|error| local(&error))?;
                BTreeMap::from([(name, device)])
            }
            None => all(&mut kernel)?,
        };
        if devices.is_empty() {
            // Reading any name shows whether the kernel supports WireGuard at all.
            if let Ok(any) = "wg0".parse()
                && let Err(error @ Error::NoWireguard) = kernel.read(&any)
            {
                return Err(local(&error));
            }
            // A failure to write this note is ignored.
            let _ = writeln!(std::io::stderr(), "no WireGuard interfaces");
        }
        let now = out.now();
        let answer = Value::Object(
            devices
                .iter()
                .map(|(name, device)| (name.to_string(), describe(device)))
                .collect(),
        );
        out.answer(&answer, || {
            let texts: Vec<_> = devices.iter().map(|(name, device)| text(name, device, now)).collect();
            texts.join("\n")
        })
    }
}

/// Reads the interface with this name from the kernel, or else from a userspace process. If the process's socket
/// exists but nothing responds on it, that is the error.
fn one(kernel: &mut Kernel, name: &InterfaceName) -> Result<Device, Error> {
    let why = match kernel.read(name) {
        Ok(Some(device)) => return Ok(device),
        Ok(None) => Error::NoInterface(name.clone()),
        Err(error @ Error::NoPermission) => return Err(error),
        Err(error) => error,
    };
    Userspace::new().read(name)?.ok_or(why)
}

/// Reads all interfaces that exist now. An interface may have disappeared since it was listed, and a
/// userspace process may have left its socket behind.
fn all(kernel: &mut Kernel) -> Result<BTreeMap<InterfaceName, Device>, Failure> {
    let mut devices = BTreeMap::new();
    for name in wireguard_interfaces(Path::new(INTERFACES))? {
        let device = kernel.read(&name).map_err(|error| local(&error))?;
        devices.extend(device.map(|device| (name, device)));
    }
    for name in userspace::interfaces() {
        match Userspace::new().read(&name) {
            Ok(device) => devices.extend(device.map(|device| (name, device))),
            Err(error @ Error::NoPermission) => return Err(local(&error)),
            Err(_) => {}
        }
    }
    Ok(devices)
}

fn local(error: &Error) -> Failure {
    Failure::Local(error.to_string())
}

/// Returns the names of the kernel's WireGuard links, sorted.
pub(crate) fn wireguard_interfaces(root: &Path) -> Result<Vec<InterfaceName>, Failure> {
    let failed = |error: &std::io::Error| Failure::file("list the interfaces in", root, error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root).map_err(|error| failed(&error))? {
        let entry = entry.map_err(|error| failed(&error))?;
        let Ok(kind) = std::fs::read_to_string(entry.path().join("uevent")) else {
            continue;
        };
        if !kind.lines().any(|line| line == "DEVTYPE=wireguard") {
            continue;
        }
        if let Some(Ok(name)) = entry.file_name().to_str().map(str::parse) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Returns the peers, most recent handshake first.
fn by_handshake(device: &Device) -> Vec<(&PublicKey, &Peer)> {
    let mut peers: Vec<_> = device.peers.iter().collect();
    peers.sort_by_key(|(_, peer)| std::cmp::Reverse(peer.latest_handshake));
    peers
}

fn text(name: &InterfaceName, device: &Device, now: Timestamp) -> String {
    let mut lines = vec![format!("interface: {name}")];
    if let Some(key) = &device.private_key {
        lines.push(format!("  public key: {}", key.public_key()));
        lines.push("  private key: (hidden)".to_owned());
    }
    if device.listen_port != 0 {
        lines.push(format!("  listening port: {}", device.listen_port));
    }
    if device.fwmark != 0 {
        lines.push(format!("  fwmark: {:#x}", device.fwmark));
    }
    for (key, peer) in by_handshake(device) {
        lines.push(String::new());
        lines.push(format!("peer: {key}"));
        peer_lines(peer, now, &mut lines);
    }
    lines.push(String::new());
    lines.join("\n")
}

fn peer_lines(peer: &Peer, now: Timestamp, lines: &mut Vec<String>) {
    if peer.preshared_key.is_some() {
        lines.push("  preshared key: (hidden)".to_owned());
    }
    if let Some(endpoint) = peer.endpoint {
        lines.push(format!("  endpoint: {endpoint}"));
    }
    let networks: Vec<_> = peer.allowed_ips.iter().collect();
    let networks = if networks.is_empty() {
        "(none)".to_owned()
    } else {
        join(&networks)
    };
    lines.push(format!("  allowed ips: {networks}"));
    if let Some(at) = peer.latest_handshake {
        lines.push(format!("  latest handshake: {} ago", duration(now.since(at))));
    }
    if peer.rx_bytes != 0 || peer.tx_bytes != 0 {
        lines.push(format!(
            "  transfer: {} received, {} sent",
            bytes(peer.rx_bytes),
            bytes(peer.tx_bytes)
        ));
    }
    if peer.persistent_keepalive != 0 {
        lines.push(format!(
            "  persistent keepalive: every {} seconds",
            peer.persistent_keepalive
        ));
    }
}

fn describe(device: &Device) -> Value {
    let peers: Vec<_> = by_handshake(device)
        .into_iter()
        .map(|(key, peer)| describe_peer(key, peer))
        .collect();
    json!({
        "public_key": device.private_key.as_ref().map(wgctl::PrivateKey::public_key),
        "listen_port": device.listen_port,
        "fwmark": device.fwmark,
        "peers": peers,
    })
}

fn describe_peer(key: &PublicKey, peer: &Peer) -> Value {
    json!({
        "public_key": key,
        "preshared_key": peer.preshared_key.is_some(),
        "endpoint": peer.endpoint.map(|endpoint| endpoint.to_string()),
        "allowed_ips": peer.allowed_ips,
        "latest_handshake_at": peer.latest_handshake,
        "transfer_rx": peer.rx_bytes,
        "transfer_tx": peer.tx_bytes,
        "persistent_keepalive": peer.persistent_keepalive,
    })
}

#[cfg(test)]
mod tests {
    use wgctl::{PresharedKey, PrivateKey};

    use super::*;

    fn device() -> Device {
        let silent = PrivateKey::from_bytes([2; 32]).public_key();
        let heard = PrivateKey::from_bytes([3; 32]).public_key();
        let mut device = Device {
            private_key: Some(PrivateKey::from_bytes([1; 32])),
            listen_port: 51820,
            ..Device::default()
        };
        device.peers.insert(silent, Peer::default());
        device.peers.insert(
            heard,
            Peer {
                preshared_key: PresharedKey::from_bytes([7; 32]).ok(),
                persistent_keepalive: 25,
                allowed_ips: ["10.8.0.2/32".parse().unwrap()].into(),
                endpoint: "192.0.2.1:5000".parse().ok(),
                latest_handshake: Some(Timestamp::from_unix(100)),
                rx_bytes: 2048,
                tx_bytes: 1,
            },
        );
        device
    }

    #[test]
    fn the_output_resembles_wg_show_with_the_latest_handshake_first() {
        let expected = format!(
            "interface: wg0\n  public key: {}\n  private key: (hidden)\n  listening port: 51820\n\npeer: {}\n  \
             preshared key: (hidden)\n  endpoint: 192.0.2.1:5000\n  allowed ips: 10.8.0.2/32\n  latest handshake: 5 s \
             ago\n  transfer: 2.00 KiB received, 1 B sent\n  persistent keepalive: every 25 seconds\n\npeer: {}\n  \
             allowed ips: (none)\n",
            PrivateKey::from_bytes([1; 32]).public_key(),
            PrivateKey::from_bytes([3; 32]).public_key(),
            PrivateKey::from_bytes([2; 32]).public_key(),
        );
        assert_eq!(
            text(&"wg0".parse().unwrap(), &device(), Timestamp::from_unix(105)),
            expected
        );
    }

    #[test]
    fn no_secret_is_ever_shown() {
        let device = device();
        let private = device.private_key.as_ref().unwrap().to_base64();
        let preshared = PresharedKey::from_bytes([7; 32]).unwrap().to_base64();
        let shown = format!(
            "{}{}",
            text(&"wg0".parse().unwrap(), &device, Timestamp::from_unix(0)),
            describe(&device)
        );
        assert!(!shown.contains(private.as_str()) && !shown.contains(preshared.as_str()));
    }

    #[test]
    fn only_wireguard_links_are_listed() {
        let root = std::env::temp_dir().join(format!("wgctl-{}", uuid::Uuid::new_v4()));
        for (name, kind) in [
            ("wg1", "DEVTYPE=wireguard\nINTERFACE=wg1\n"),
            ("eth0", "INTERFACE=eth0\n"),
            ("wg0", "DEVTYPE=wireguard\n"),
        ] {
            std::fs::create_dir_all(root.join(name)).unwrap();
            std::fs::write(root.join(name).join("uevent"), kind).unwrap();
        }
        let names: Vec<_> = wireguard_interfaces(&root)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(names, ["wg0", "wg1"]);
        std::fs::remove_dir_all(&root).unwrap();
    }
}
