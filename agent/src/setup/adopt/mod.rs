//! Adoption: an existing interface of the host is taken over as it is.
//!
//! Owns the decision whether to adopt, the description for the plane, and the order in which the host's
//! files are written, so that an interrupted adoption can be repeated. It must not touch the interface:
//! the agent's first run finds it as it should be.

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

/// An interface that is not adopted. Nothing was changed, here or on the plane.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is an interface, and the record does not await its adoption.
    #[error(
        "this host has an interface {interface} that is not {server}'s ({peers} peers, its own key), and the record does \
         not await its adoption: `wgctl server set {server} --adopt`, then enroll again (with --dry-run first, to see \
         what would happen); or remove it; or give the server record another interface"
    )]
    Occupied {
        /// Its name.
        interface: InterfaceName,
        /// The number of its peers.
        peers: usize,
        /// The server that the token belongs to.
        server: ServerId,
    },
    /// A file was given for a record that awaits nothing.
    #[error("{0} does not await the adoption of an interface: `wgctl server set {0} --adopt`, then enroll again")]
    NotAwaited(ServerId),
    /// The record awaits an interface that is not there.
    #[error(
        "{server} awaits the adoption of {interface}, but this host has no interface {interface} with a key: bring it up, \
         or give its wg-quick file (--import /etc/wireguard/{interface}.conf), or have it created again (`wgctl server set \
         {server} --adopt=false`)"
    )]
    Nothing {
        /// The interface.
        interface: InterfaceName,
        /// The server that the token belongs to.
        server: ServerId,
    },
    /// The file and the kernel have different keys.
    #[error(
        "the private key of {file} is not that of the running {interface}: give the file that {interface} was made from, \
         or omit --import"
    )]
    KeysDiffer {
        /// The file.
        file: String,
        /// The interface.
        interface: InterfaceName,
    },
    /// The plane, or the host's addresses, stand in the way.
    #[error("the interface cannot be adopted, and nothing was changed:\n{}", obstacles(.0))]
    Obstacles(Vec<Obstacle>),
    /// The host's keys.
    #[error(transparent)]
    Secrets(#[from] secrets::Error),
    /// The desired state of the adopted interface cannot be written.
    #[error(transparent)]
    Cache(#[from] cache::Error),
}

/// One line an obstacle.
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

/// Obstacles: addresses that the agent would remove, and that peers may use to reach this host.
pub(crate) fn lost_addresses(interface: &InterfaceName, surplus: &[IpNet]) -> Vec<Obstacle> {
    let obstacle = |address: &IpNet| Obstacle {
        public_key: None,
        reason: format!(
            "{interface} has the address {address}, which is not on record: the agent would remove it, and peers could \
             not reach this host there. Register the server with a pool whose first address it is, or take it away first \
             (`ip address del {address} dev {interface}`)"
        ),
    };
    surplus.iter().map(obstacle).collect()
}

/// An interface that is to be taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingInterface {
    /// Its key.
    pub private_key: PrivateKey,
    /// All of it.
    pub device: Device,
    /// The names of its peers.
    pub names: BTreeMap<PublicKey, PeerName>,
    /// The kernel has it, not only a file.
    pub runs: bool,
}

/// The decision of an enrolment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnrollmentDecision {
    /// The host becomes what is recorded.
    AsRecorded,
    /// The plane records the host's interface.
    Adopt(Box<ExistingInterface>),
}

/// Decides what an enrolment does. `own` is the key in the agent's state, `device` the running interface.
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
    // On record, but not written on this host: the answer to an adoption was lost.
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

/// The interface with a key that there is: as it runs, with the file's names; else the file's.
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
    /// The description for the plane, without the private key and with sealed preshared keys.
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

    /// Writes to `folder` what the plane recorded: the counters, without earlier transfers, and the desired
    /// state for a boot without the plane.
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
                "{}: what was transferred before the adoption will be counted: {error}",
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

/// Locks the state folder, which is created if needed; none if an agent has it.
pub(crate) fn lock(folder: &Path) -> std::io::Result<Option<std::fs::File>> {
    state_dir::make_private(folder)?;
    state_dir::lock(folder)
}

#[cfg(test)]
mod tests;
