//! A wg-quick file, read as the description of an interface to adopt.
//!
//! Owns the selection of the settings that are adopted, the names of the peers, and the notes about the other
//! settings. It must not execute anything in the file, or repeat a secret from it.

mod peer_names;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use wgctl::address::normal;
use wgctl::config::{Directive, Interface, ParseError, Peer as Section, Refusal, WgQuick};
use wgctl::device::{Device, Peer};
use wgctl::{PeerName, PrivateKey, PublicKey, ServerId};
use zeroize::Zeroizing;

use peer_names::names;

/// An error that prevents the import of a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error from the operating system.
        source: io::Error,
    },
    /// The file is not a wg-quick file.
    #[error("{}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line and the fault.
        source: ParseError,
    },
    /// The file has no private key.
    #[error("{}: [Interface] has no PrivateKey: name the file of the server's interface", .0.display())]
    NoKey(PathBuf),
    /// The file names a peer twice.
    #[error("{}: line {line}: the peer {public_key} appears a second time: merge the two sections", path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// The line of the second section.
        line: usize,
        /// The public key of the peer.
        public_key: PublicKey,
    },
}

/// The content of an imported file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The file.
    pub path: PathBuf,
    /// The private key of the interface.
    pub private_key: PrivateKey,
    /// The interface that `wg` would create from the file.
    pub device: Device,
    /// The names of the peers, from the comments in the file.
    pub names: BTreeMap<PublicKey, PeerName>,
    /// The settings that are not adopted.
    directives: Vec<Directive>,
    mtu: Option<u16>,
    fwmark: Option<u32>,
    dialled: usize,
}

impl Import {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map(Zeroizing::new);
        let text = text.map_err(|source| Error::File {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let file = WgQuick::parse(text).map_err(|source| Error::Parse {
            path: path.to_owned(),
            source,
        })?;
        let WgQuick {
            comment: _,
            interface,
            peers,
        } = file;
        let names = names(text, &peers);
        let Interface {
            private_key,
            listen_port,
            fwmark,
            // The record's pool determines the addresses; the other fields are for devices.
            addresses: _,
            dns: _,
            search_domains: _,
            mtu,
            mut directives,
        } = interface;
        let private_key = private_key.ok_or_else(|| Error::NoKey(path.to_owned()))?;
        let mut device = Device {
            private_key: Some(private_key.clone()),
            listen_port: listen_port.unwrap_or(0),
            fwmark: 0,
            peers: BTreeMap::new(),
        };
        let mut dialled = 0;
        for section in peers {
            let (line, public_key) = (section.line, section.public_key);
            dialled += usize::from(section.endpoint.is_some());
            let (peer, others) = peer_of(section);
            directives.extend(others);
            if device.peers.insert(public_key, peer).is_some() {
                return Err(Error::Twice {
                    path: path.to_owned(),
                    line,
                    public_key,
                });
            }
        }
        Ok(Self {
            path: path.to_owned(),
            private_key,
            device,
            names,
            directives,
            mtu,
            fwmark: fwmark.filter(|mark| *mark != 0),
            dialled,
        })
    }

    /// Returns notes on the settings in the file that are not adopted, and the alternatives. `mtu` is the recorded
    /// MTU.
    #[must_use]
    pub fn notes(&self, server: &ServerId, mtu: Option<u16>) -> Vec<String> {
        let mut notes: Vec<String> = self
            .directives
            .iter()
            .map(|directive| note(directive, server))
            .collect();
        if let Some(ours) = self.mtu.filter(|ours| mtu != Some(*ours)) {
            notes.push(format!(
                "MTU = {ours} is not adopted: `wgctl server set {server} --mtu {ours}`"
            ));
        }
        if self.fwmark.is_some() {
            notes.push("FwMark is not adopted: an interface that the agent creates has none".to_owned());
        }
        if self.dialled > 0 {
            notes.push(format!(
                "Endpoint is not adopted ({} peers): peers dial this host, and it does not dial them after a reboot",
                self.dialled
            ));
        }
        notes
    }
}

/// Returns the peer in a section, and the settings that are not adopted.
fn peer_of(section: Section) -> (Peer, Vec<Directive>) {
    let Section {
        line: _,
        public_key: _,
        preshared_key,
        allowed_ips,
        // Peers dial this host.
        endpoint: _,
        persistent_keepalive,
        directives,
    } = section;
    let peer = Peer {
        preshared_key,
        persistent_keepalive: persistent_keepalive.unwrap_or(0),
        allowed_ips: allowed_ips.into_iter().map(normal).collect(),
        ..Peer::default()
    };
    (peer, directives)
}

fn note(directive: &Directive, server: &ServerId) -> String {
    let Directive {
        line,
        key,
        value,
        refusal,
    } = directive;
    let instead = match refusal {
        Refusal::Command if value.to_lowercase().contains("masquerade") => {
            format!("if it masquerades the pool, `wgctl server set {server} --masquerade true` does that")
        }
        Refusal::Command => "the agent runs no commands: use a systemd unit of your own".to_owned(),
        Refusal::WgQuickOnly => "it is a wg-quick option, and wg-quick no longer manages the interface".to_owned(),
        Refusal::Unknown => "it is not a known WireGuard setting".to_owned(),
    };
    format!("line {line}: {key} is not adopted: {instead}")
}

#[cfg(test)]
mod tests;
