//! A wg-quick file, read as an interface to be adopted.
//!
//! Owns which settings of the file are adopted, the names of its peers, and the notes about the rest.
//! Nothing in the file is executed, and no secret of it is repeated.

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

/// A file that cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It is not a wg-quick file.
    #[error("{}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line and the fault.
        source: ParseError,
    },
    /// It has no key.
    #[error("{}: [Interface] has no PrivateKey: give the file that the server's interface is made from", .0.display())]
    NoKey(PathBuf),
    /// It names a peer twice.
    #[error("{}: line {line}: the peer {public_key} appears a second time: merge the two sections", path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// The line of the second section.
        line: usize,
        /// The peer's key.
        public_key: PublicKey,
    },
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The file.
    pub path: PathBuf,
    /// The interface's key.
    pub private_key: PrivateKey,
    /// The interface, as wg would make it.
    pub device: Device,
    /// The names of its peers, from the file's comments.
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
            // The record's pool decides on addresses; the rest is for devices.
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

    /// The settings of the file that are not adopted, and what to do instead. `mtu` is the record's.
    #[must_use]
    pub fn notes(&self, server: &ServerId, mtu: Option<u16>) -> Vec<String> {
        let mut notes: Vec<String> = self
            .directives
            .iter()
            .map(|directive| note(directive, server))
            .collect();
        if let Some(ours) = self.mtu.filter(|ours| mtu != Some(*ours)) {
            notes.push(format!(
                "MTU = {ours} is not taken over: `wgctl server set {server} --mtu {ours}`"
            ));
        }
        if self.fwmark.is_some() {
            notes.push("FwMark is not taken over: an interface that the agent makes has none".to_owned());
        }
        if self.dialled > 0 {
            notes.push(format!(
                "Endpoint is not taken over ({} peers): peers dial this host, it does not dial them after a reboot",
                self.dialled
            ));
        }
        notes
    }
}

/// The peer of a section, and the settings that are not adopted.
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
        Refusal::WgQuickOnly => "it is an option of wg-quick, which no longer manages the interface".to_owned(),
        Refusal::Unknown => "it is not a known setting of WireGuard".to_owned(),
    };
    format!("line {line}: {key} is not taken over: {instead}")
}

#[cfg(test)]
mod tests;
