//! Adoption: takes over an existing interface on the host as it is.
//!
//! Owns the decision on whether to adopt, the description for the plane, and the order in which the host's files are
//! written, so that an interrupted adoption can be repeated. It must not touch the interface: the agent's first
//! run finds it in the desired state.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use ipnet::IpNet;
use wgctl::device::{Device, Peer};
use wgctl::name::InterfaceName;
use wgctl::protocol::v1::{Adopted, Adoption, FoundPeer, Obstacle, Recorded, Terms};
use wgctl::{PeerId, PeerName, PrivateKey, PublicKey, ServerId};

use super::wg_quick_file::Import;
use crate::cache::Cache;
use crate::counters::{Counters, uptime};
use crate::desired::State;
use crate::secrets::{self, Secrets};
use crate::{cache, state_dir};

/// An error that prevents an adoption. Nothing has been changed, here or on the plane, except in the case of
/// [`Error::Cache`], which occurs after the plane has recorded the adoption.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is an interface, but the record does not await its adoption.
    #[error(
        "this host has an interface {interface} that does not belong to {server} ({peers} peers, its own key), \
         and the record does not await its adoption: run `wgctl server set {server} --adopt`, then enroll again (with \
         --dry-run first, to see what would happen); or remove it; or set another interface in the server's record"
    )]
    Occupied {
        /// The name of the interface.
        interface: InterfaceName,
        /// The number of peers on the interface.
        peers: usize,
        /// The server to which the token belongs.
        server: ServerId,
    },
    /// A file was given for a server whose record does not await an adoption.
    #[error("{0} does not await the adoption of an interface: run `wgctl server set {0} --adopt`, then enroll again")]
    NotAwaited(ServerId),
    /// The record awaits an interface that does not exist.
    #[error(
        "{server} awaits the adoption of {interface}, but this host has no interface {interface} with a key: bring it \
         up, name its wg-quick file (--import /etc/wireguard/{interface}.conf), or have it created again (`wgctl \
         server set {server} --adopt=false`)"
    )]
    Nothing {
        /// The interface.
        interface: InterfaceName,
        /// The server to which the token belongs.
        server: ServerId,
    },
    /// The file and the kernel have different keys.
    #[error(
        "the private key in {file} is not the key of the running {interface}: name the file from which {interface} \
         was created, or omit --import"
    )]
    KeysDiffer {
        /// The file.
        file: String,
        /// The interface.
        interface: InterfaceName,
    },
    /// The plane or the host's addresses prevent the adoption.
    #[error("the interface cannot be adopted, and nothing was changed:\n{}", obstacles(.0))]
    Obstacles(Vec<Obstacle>),
    /// The host's keys cannot be used.
    #[error(transparent)]
    Secrets(#[from] secrets::Error),
    /// The desired state of the adopted interface cannot be written.
    #[error(transparent)]
    Cache(#[from] cache::Error),
}

/// Formats the obstacles, one per line.
pub(crate) fn obstacles(obstacles: &[Obstacle]) -> String {
    let mut lines = String::new();
    for Obstacle { public_key, reason } in obstacles {
        let _ = match public_key {
            Some(key) => writeln!(lines, "  peer {key}: {reason}"),
            None => writeln!(lines, "  {reason}"),
        };
    }
    lines.trim_end().to_owned()
}

/// Returns an obstacle for each address that the agent would remove and that peers may use to reach this host.
pub(crate) fn lost_addresses(interface: &InterfaceName, surplus: &[IpNet]) -> Vec<Obstacle> {
    let obstacle = |address: &IpNet| Obstacle {
        public_key: None,
        reason: format!(
            "{interface} has the address {address}, which is not recorded: the agent would remove it, and peers could \
             no longer reach this host there. Register the server with a pool whose first address is this one, or \
             remove the address first (`ip address del {address} dev {interface}`)"
        ),
    };
    surplus.iter().map(obstacle).collect()
}

/// An interface that can be taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingInterface {
    /// The private key of the interface.
    pub private_key: PrivateKey,
    /// The whole state of the interface.
    pub device: Device,
    /// The names of the peers on the interface.
    pub names: BTreeMap<PublicKey, PeerName>,
    /// True if the kernel has the interface, and not only a file.
    pub runs: bool,
}

/// The decision that an enrolment makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnrollmentDecision {
    /// The host takes on the recorded state.
    AsRecorded,
    /// The plane records the host's interface.
    Adopt(Box<ExistingInterface>),
}

/// Decides what an enrolment does. `own` is the public key in the agent's state, and `device` is the running
/// interface.
pub fn course(
    terms: &Terms,
    own: Option<&PublicKey>,
    device: Option<Device>,
    import: Option<&Import>,
) -> Result<EnrollmentDecision, Error> {
    let (server, interface) = (&terms.server_id, &terms.recorded.interface.name);
    let Some(found) = found(interface, device, import)? else {
        return match (terms.adopt, import) {
            (true, _) => Err(Error::Nothing {
                interface: interface.clone(),
                server: server.clone(),
            }),
            (false, _) => Ok(EnrollmentDecision::AsRecorded),
        };
    };
    let key = found.private_key.public_key();
    // The plane has recorded the key, but this host has not stored it: the response to an adoption was lost.
    let cut_off = terms.public_key == Some(key) && own != Some(&key);
    if terms.adopt || cut_off {
        return Ok(EnrollmentDecision::Adopt(Box::new(found)));
    }
    match (import, own == Some(&key)) {
        (Some(_), _) => Err(Error::NotAwaited(server.clone())),
        (None, true) => Ok(EnrollmentDecision::AsRecorded),
        (None, false) => Err(Error::Occupied {
            interface: interface.clone(),
            peers: found.device.peers.len(),
            server: server.clone(),
        }),
    }
}

/// Returns the existing interface that has a key: the running one, with the names from the file, or else the one
/// that the file describes.
fn found(
    interface: &InterfaceName,
    device: Option<Device>,
    import: Option<&Import>,
) -> Result<Option<ExistingInterface>, Error> {
    let names = import.map(|import| import.names.clone()).unwrap_or_default();
    let running = device.and_then(|device| Some((device.private_key.clone()?, device)));
    let Some((private_key, device)) = running else {
        return Ok(import.map(|import| ExistingInterface {
            private_key: import.private_key.clone(),
            device: import.device.clone(),
            names,
            runs: false,
        }));
    };
    match import.filter(|import| import.private_key != private_key) {
        Some(import) => Err(Error::KeysDiffer {
            file: import.path.display().to_string(),
            interface: interface.clone(),
        }),
        None => Ok(Some(ExistingInterface {
            private_key,
            device,
            names,
            runs: true,
        })),
    }
}

impl ExistingInterface {
    /// Returns the description for the plane, without the private key and with sealed preshared keys.
    pub fn describe(&self, secrets: &Secrets, server: &ServerId) -> Result<Adoption, secrets::Error> {
        let peers = self.device.peers.iter().map(|(key, peer)| {
            let Peer {
                preshared_key,
                persistent_keepalive,
                allowed_ips,
                // Learned again with the next handshake.
                endpoint: _,
                latest_handshake: _,
                rx_bytes: _,
                tx_bytes: _,
            } = peer;
            let id = PeerId::random();
            let sealed = preshared_key.as_ref();
            Ok(FoundPeer {
                id,
                public_key: *key,
                name: self.names.get(key).cloned(),
                preshared_key: sealed
                    .map(|key| secrets.seal_preshared_key(server, id, key))
                    .transpose()?,
                allowed_ips: allowed_ips.iter().copied().collect(),
                persistent_keepalive: Some(*persistent_keepalive).filter(|seconds| *seconds > 0),
            })
        });
        Ok(Adoption {
            public_key: self.private_key.public_key(),
            listen_port: Some(self.device.listen_port).filter(|port| *port > 0),
            peers: peers.collect::<Result<_, secrets::Error>>()?,
        })
    }

    /// Writes the plane's record to `folder`: the counters, without earlier transfers, and the desired state for
    /// a boot without a plane.
    pub fn note(&self, folder: &Path, server: &ServerId, adopted: Adopted) -> Result<(), Error> {
        let up = uptime();
        let mut counters = Counters::load(folder, up).ok().flatten().unwrap_or_default();
        for peer in &adopted.clients {
            if let Some(counted) = self.device.peers.get(&peer.public_key) {
                counters.peer_is_adopted(&peer.public_key, peer.id, (counted.rx_bytes, counted.tx_bytes));
            }
        }
        if let Err(error) = counters.save(folder, up) {
            tracing::warn!(
                "{}: transfers from before the adoption will be counted: {error}",
                folder.display()
            );
        }
        let Recorded {
            incarnation,
            revision,
            interface,
            peers,
        } = adopted.recorded;
        let state = State {
            server_id: server.clone(),
            incarnation,
            revision,
            interface,
            peers: peers.into_iter().map(|peer| (peer.id, peer)).collect(),
        };
        let (mut cache, _) = Cache::open(folder);
        Ok(cache.write(&state, None)?)
    }
}

/// Locks the state directory, which is created if needed; returns `None` if an agent holds the lock.
pub(crate) fn lock(folder: &Path) -> std::io::Result<Option<std::fs::File>> {
    state_dir::make_private(folder)?;
    state_dir::lock(folder)
}

#[cfg(test)]
mod tests;
