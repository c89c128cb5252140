//! The plane's committed state at every revision.
//!
//! Owns the history against which hosts are checked. It must not know the agent.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use sentrazone_plane::fleet::{Fleet, PeersQuery};
use wgctl::address::{host, normal};
use wgctl::api::Peer;
use wgctl::{PeerId, PublicKey, ServerId, Timestamp};

/// An enabled client at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) client: PeerId,
    pub(crate) allowed_ips: BTreeSet<IpNet>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) preshared_key: bool,
}

/// The enabled clients at one revision.
pub(crate) type Peers = BTreeMap<PublicKey, Version>;

/// One server's history.
#[derive(Debug, Default)]
pub(crate) struct Record {
    revisions: BTreeMap<u64, Peers>,
}

impl Record {
    pub(crate) fn note(&mut self, revision: u64, clients: &[Peer]) {
        let enabled = clients.iter().filter(|client| client.enabled);
        self.revisions.insert(revision, enabled.map(version).collect());
    }

    /// Returns the record at this revision.
    pub(crate) fn at(&self, revision: u64) -> Option<&Peers> {
        self.revisions.range(..=revision).next_back().map(|(_, peers)| peers)
    }

    /// Returns the records at this revision and later.
    pub(crate) fn since(&self, revision: u64) -> impl Iterator<Item = &Peers> {
        let from = self.revisions.range(..=revision).next_back().map_or(0, |(at, _)| *at);
        self.revisions.range(from..).map(|(_, peers)| peers)
    }
}

fn version(client: &Peer) -> (PublicKey, Version) {
    let own = client.addresses.iter().map(|address| host(*address));
    let behind = client.server_allowed_ips.iter().copied();
    let version = Version {
        client: client.id,
        allowed_ips: own.chain(behind).map(normal).collect(),
        expires_at: client.expires_at,
        preshared_key: client.preshared_key,
    };
    (client.public_key, version)
}

/// Returns the server's current revision and clients.
pub(crate) async fn read(fleet: &Fleet, server: &ServerId) -> (u64, Vec<Peer>) {
    let revision = fleet.server(server).unwrap().desired_revision;
    let page = fleet.peers(server, PeersQuery::default()).await.unwrap();
    (revision, page.peers)
}
