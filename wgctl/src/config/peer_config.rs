//! The configuration of a device: one interface with one peer.
//!
//! Owns the value type, and the rules that a wg-quick file must satisfy to be a device's configuration. It must not
//! do I/O.

use std::net::IpAddr;

use ipnet::IpNet;

use super::parse::{Directive, Interface, ParseError, Peer, WgQuick};
use crate::address::Endpoint;
use crate::key::{PresharedKey, PrivateKey, PublicKey};
use crate::name::PeerName;

/// The configuration with which a device connects to its server: one interface with one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerConfig {
    /// The device's name, written as a comment in the first line.
    pub name: PeerName,
    /// The device's private key. `None` if the device keeps it; the text then has a comment in its place.
    pub private_key: Option<PrivateKey>,
    /// The device's addresses, with their prefix lengths.
    pub addresses: Vec<IpNet>,
    /// The DNS resolvers to use while connected.
    pub dns: Vec<IpAddr>,
    /// The interface's MTU in bytes; `None` leaves the choice to wg-quick.
    pub mtu: Option<u16>,
    /// The server's public key.
    pub public_key: PublicKey,
    /// The preshared key, if there is one.
    pub preshared_key: Option<PresharedKey>,
    /// The destinations that are routed into the tunnel.
    pub allowed_ips: Vec<IpNet>,
    /// The server's endpoint.
    pub endpoint: Endpoint,
    /// The number of seconds between keepalives; `None` (or 0, which is read back as `None`) turns them off.
    pub persistent_keepalive: Option<u16>,
}

/// The reason why a wg-quick file is not a [`PeerConfig`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerConfigError {
    /// The text is not valid wg-quick text.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The first line is not a comment with the peer's name.
    #[error("no name: the first line must be a comment with a peer's name, like `# alice-iphone`")]
    Name,
    /// The number of `[Peer]` sections is not one.
    #[error("a device's configuration has exactly one [Peer] section, but this one has {0}")]
    Peers(usize),
    /// The peer has no endpoint.
    #[error("the [Peer] section on line {0} has no Endpoint")]
    Endpoint(usize),
    /// A setting that never occurs in a device's configuration from Sentrazone.
    #[error("line {line}: {key} is not part of a device's configuration: remove the line")]
    Setting {
        /// The number of the line.
        line: usize,
        /// The setting's key.
        key: String,
    },
    /// A setting for servers or for name resolution that never occurs in a device's configuration from Sentrazone.
    #[error("{0} is not part of a device's configuration: remove it from the [Interface] section")]
    Foreign(&'static str),
}

impl std::str::FromStr for PeerConfig {
    type Err = PeerConfigError;

    /// Parses text that was written by [`PeerConfig::render`].
    fn from_str(text: &str) -> Result<Self, PeerConfigError> {
        Self::try_from(WgQuick::parse(text)?)
    }
}

impl TryFrom<WgQuick> for PeerConfig {
    type Error = PeerConfigError;

    fn try_from(file: WgQuick) -> Result<Self, PeerConfigError> {
        let WgQuick {
            comment,
            interface,
            peers,
        } = file;
        let Interface {
            private_key,
            listen_port,
            fwmark,
            addresses,
            dns,
            search_domains,
            mtu,
            directives,
        } = interface;
        if let Some(Directive { line, key, .. }) = directives.into_iter().next() {
            return Err(PeerConfigError::Setting { line, key });
        }
        let foreign = [
            ("ListenPort", listen_port.is_some()),
            ("FwMark", fwmark.is_some()),
            ("a search domain", !search_domains.is_empty()),
        ];
        if let Some((key, _)) = foreign.into_iter().find(|(_, present)| *present) {
            return Err(PeerConfigError::Foreign(key));
        }
        let name = comment
            .and_then(|text| text.parse().ok())
            .ok_or(PeerConfigError::Name)?;
        let [peer]: [Peer; 1] = peers
            .try_into()
            .map_err(|peers: Vec<_>| PeerConfigError::Peers(peers.len()))?;
        let Peer {
            line,
            public_key,
            preshared_key,
            allowed_ips,
            endpoint,
            persistent_keepalive,
            directives,
        } = peer;
        if let Some(Directive { line, key, .. }) = directives.into_iter().next() {
            return Err(PeerConfigError::Setting { line, key });
        }
        Ok(Self {
            name,
            private_key,
            addresses,
            dns,
            mtu,
            public_key,
            preshared_key,
            allowed_ips,
            endpoint: endpoint.ok_or(PeerConfigError::Endpoint(line))?,
            persistent_keepalive,
        })
    }
}
