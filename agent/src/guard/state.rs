//! The guard of one interface: its settings, its memory and its latest judgement.
//!
//! Owns which addresses are protected, and which of them the host may reach through the interface because it already
//! does. It must not read or change the host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::judge::{Judgement, Wanted, leads_through};
use super::memory::Memory;
use super::network::Network;
use super::protected::{Protected, Protection, Role};

/// The settings of the guard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The hosts in the planes' URLs.
    pub planes: Vec<String>,
    /// The networks whose routes are not judged.
    pub allowed: Vec<IpNet>,
}

/// The guard of one interface.
#[derive(Debug)]
pub struct Guard {
    settings: Settings,
    memory: Memory,
    /// True until the first judgement if there was no memory: the host may have been set up before the guard existed.
    is_new: bool,
    /// The planes' addresses of which a connection has just shown that the host reaches them.
    reached: BTreeSet<IpAddr>,
    judgement: Judgement,
    folder: PathBuf,
}

impl Guard {
    /// Opens the guard whose memory is in `folder`. A memory that cannot be read is logged and replaced.
    #[must_use]
    pub fn open(settings: Settings, folder: PathBuf) -> Self {
        let loaded = Memory::load(&folder).unwrap_or_else(|error| {
            tracing::error!(
                "{}: guard.json cannot be read ({error}): the planes' last known addresses are lost",
                folder.display()
            );
            Some(Memory::default())
        });
        let is_new = loaded.is_none();
        let mut memory = loaded.unwrap_or_default();
        memory.planes.retain(|host, _| settings.planes.contains(host));
        let mut guard = Self {
            settings,
            memory,
            is_new,
            reached: BTreeSet::new(),
            judgement: Judgement::default(),
            folder,
        };
        for host in guard.settings.planes.clone() {
            if let Some(address) = literal(&host) {
                guard.memory.planes.insert(host, [address].into());
            }
        }
        guard
    }

    /// Returns the latest judgement.
    #[must_use]
    pub const fn judgement(&self) -> &Judgement {
        &self.judgement
    }

    /// Returns the planes' addresses.
    #[must_use]
    pub fn plane_addresses(&self) -> Vec<IpAddr> {
        self.memory.planes.values().flatten().copied().collect()
    }

    /// Notes the addresses to which the planes' names have just been resolved. Returns whether any of them changed.
    pub fn note_planes(&mut self, resolved: BTreeMap<String, BTreeSet<IpAddr>>) -> bool {
        let before = self.memory.planes.clone();
        self.memory
            .planes
            .extend(resolved.into_iter().filter(|(_, addresses)| !addresses.is_empty()));
        self.memory.planes != before
    }

    /// Notes that a plane has just been reached at this address. Returns whether that may matter to the judgement.
    pub fn note_reached(&mut self, address: IpAddr) -> bool {
        !self.memory.through_tunnel.contains(&address) && self.reached.insert(address)
    }

    /// Judges `wanted` again. `routed` are the networks that are routed over the interface now. Returns whether the
    /// judgement changed.
    pub fn judge(&mut self, network: &Network, wanted: Wanted<'_>, routed: &BTreeSet<IpNet>) -> bool {
        self.learn(network, routed);
        let judgement = Judgement::of(network, &self.protection(), wanted);
        let changed = judgement != self.judgement;
        if changed {
            judgement.log(&self.judgement);
            self.judgement = judgement;
        }
        changed
    }

    /// Learns which protected addresses the host already reaches through the interface.
    fn learn(&mut self, network: &Network, routed: &BTreeSet<IpNet>) {
        let before = self.memory.clone();
        // A resolver that is configured while its network is routed over the interface is meant to be reached there.
        let new_resolvers = network.resolvers.difference(&self.memory.resolvers).copied();
        let mut shown: BTreeSet<IpAddr> = new_resolvers.chain(std::mem::take(&mut self.reached)).collect();
        if self.is_new {
            shown.extend(self.plane_addresses());
        }
        shown.retain(|address| leads_through(network, routed, *address));
        self.memory.through_tunnel.extend(shown);
        self.memory.resolvers.clone_from(&network.resolvers);
        self.is_new &= self.memory.planes.len() < self.settings.planes.len();
        if self.memory != before
            && let Err(error) = self.memory.save(&self.folder)
        {
            tracing::error!("{}: guard.json cannot be saved: {error}", self.folder.display());
        }
    }

    fn protection(&self) -> Protection {
        let planes = self.memory.planes.iter().flat_map(|(host, addresses)| {
            addresses.iter().map(|address| Protected {
                address: *address,
                role: Role::Plane(host.clone()),
            })
        });
        Protection {
            planes: planes.collect(),
            through_tunnel: self.memory.through_tunnel.clone(),
            allowed: self.settings.allowed.clone(),
            needs_resolver: self.settings.planes.iter().all(|host| literal(host).is_none()),
        }
    }
}

/// Returns the address if a URL's host is one; IPv6 addresses are in brackets there.
fn literal(host: &str) -> Option<IpAddr> {
    host.trim_matches(['[', ']']).parse().ok()
}
