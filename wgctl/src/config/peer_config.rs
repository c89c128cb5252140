//! The configuration of a device: one interface with one peer.
//!
//! Owns the value, and what a wg-quick file must and must not have to be one. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

use super::parse::{Directive, Interface, ParseError, Peer, WgQuick};
use crate::address::Endpoint;
use crate::key::{PresharedKey, PrivateKey, PublicKey};
use crate::name::PeerName;

/// The configuration by which a device reaches its server: one interface with one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerConfig {
    /// The device's name, a comment in the text's first line.
    pub name: PeerName,
    /// The device's private key; none when the device keeps it, a comment then stands in its place.
    pub private_key: Option<PrivateKey>,
    /// The device's addresses, with their prefix lengths.
    pub addresses: Vec<IpNet>,
    /// Resolvers to use while connected.
    pub dns: Vec<IpAddr>,
    /// The interface's MTU, bytes; none for wg-quick's own choice.
    pub mtu: Option<u16>,
    /// The server's public key.
    pub public_key: PublicKey,
    /// The preshared key; none for none.
    pub preshared_key: Option<PresharedKey>,
    /// Destinations that are sent into the tunnel.
    pub allowed_ips: Vec<IpNet>,
    /// Where the server is.
    pub endpoint: Endpoint,
    /// Seconds between keepalives; none (or 0, which reads back as none) for off.
    pub persistent_keepalive: Option<u16>,
}

/// The reason why a wg-quick file is no [`PeerConfig`], though it is a valid file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerConfigError {
    /// The text is not valid wg-quick text.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The first line is not a comment with the peer's name.
    #[error("no name: the first line must be a comment that is a peer's name, like `# alice-iphone`")]
    Name,
    /// Not exactly one `[Peer]` section.
    #[error("a device's configuration has exactly one [Peer] section, this one has {0}")]
    Peers(usize),
    /// The peer has no endpoint.
    #[error("the [Peer] section of line {0} has no Endpoint")]
    Endpoint(usize),
    /// A setting that no device's configuration of ours has.
    #[error("line {line}: {key} is not part of a device's configuration: remove the line")]
    Setting {
        /// Where.
        line: usize,
        /// Which.
        key: String,
    },
    /// A setting of servers or of name resolution that no device's configuration of ours has.
    #[error("{0} is not part of a device's configuration: remove it from the [Interface] section")]
    Foreign(&'static str),
}

impl std::str::FromStr for PeerConfig {
    type Err = PeerConfigError;

    /// Reads back what [`PeerConfig::render`] wrote.
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
