//! The desired state of this host, as the plane last sent it.
//!
//! Owns the state and the pure step from one revision to the next. It must not perform I/O.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use wgctl::name::Incarnation;
use wgctl::protocol::v1::{Change, Desired, Interface, Peer};
use wgctl::{PeerId, PublicKey, ServerId};

/// The desired state at a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The server that this host is enrolled as.
    pub server_id: ServerId,
    /// The incarnation of the database to which `revision` belongs.
    pub incarnation: Incarnation,
    /// The revision.
    pub revision: u64,
    /// The interface.
    pub interface: Interface,
    /// The peers.
    pub peers: BTreeMap<PeerId, Peer>,
}

impl State {
    /// Applies one change and returns its scope.
    fn apply(&mut self, delta: Delta) -> ChangeScope {
        let all = delta.interface.is_some();
        let (ids, keys) = self.change(delta);
        match all {
            true => ChangeScope::All,
            false => ChangeScope::Peers { ids, keys },
        }
    }

    /// Applies one change. Returns the affected peers, and their keys before and after the change.
    pub fn change(&mut self, delta: Delta) -> (BTreeSet<PeerId>, Vec<PublicKey>) {
        let Delta {
            revision,
            interface,
            upsert,
            remove,
        } = delta;
        self.revision = revision;
        if let Some(interface) = interface {
            self.interface = interface;
        }
        let ids = upsert.iter().map(|peer| &peer.id).chain(&remove).copied().collect();
        let mut keys = Vec::new();
        for id in &remove {
            keys.extend(self.peers.remove(id).map(|peer| peer.public_key));
        }
        for peer in upsert {
            keys.push(peer.public_key);
            let before = self.peers.insert(peer.id, peer);
            keys.extend(before.map(|peer| peer.public_key));
        }
        (ids, keys)
    }
}

/// The change from one revision to a later one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// The later revision.
    pub revision: u64,
    /// The interface, if it has changed.
    pub interface: Option<Interface>,
    /// The peers that are new or have changed.
    pub upsert: Vec<Peer>,
    /// The peers that have been removed.
    pub remove: Vec<PeerId>,
}

impl Delta {
    /// Returns the change in a response from the plane, if the response contains one.
    #[must_use]
    pub fn of(desired: &Desired) -> Option<Self> {
        match &desired.change {
            Change::Delta {
                interface,
                upsert,
                remove,
            } => Some(Self {
                revision: desired.revision,
                interface: interface.clone(),
                upsert: upsert.clone(),
                remove: remove.clone(),
            }),
            Change::Unchanged | Change::Snapshot { .. } => None,
        }
    }
}

/// The state on which a response from the plane builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// The agent's current state.
    Here,
    /// No state: the full state was requested, and the response replaces any state. This also covers a server that
    /// has been removed and created again, and whose revisions therefore start at one.
    Nothing,
}

/// The part of the state that a step changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeScope {
    /// Nothing.
    Nothing,
    /// These peers.
    Peers {
        /// The peers.
        ids: BTreeSet<PeerId>,
        /// Their keys before and after the change.
        keys: Vec<PublicKey>,
    },
    /// Everything.
    All,
}

/// A response that does not fit the state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// A delta to a state that the agent does not have.
    #[error("the plane sent changes to a state that this agent does not have: requesting the full state")]
    NoBase,
    /// A response with an older revision.
    #[error("the plane sent revision {theirs}, older than this agent's revision {ours}: requesting the full state")]
    Older {
        /// The revision of the response.
        theirs: u64,
        /// The revision of the state.
        ours: u64,
    },
}

/// Applies one response from the plane.
pub fn step(
    state: &mut Option<State>,
    server_id: &ServerId,
    desired: Desired,
    base: Base,
) -> Result<ChangeScope, StepError> {
    let Desired {
        // The version was agreed on during the introduction.
        version: _,
        incarnation,
        revision,
        change,
        // These belong to the log and the conversation, not to the state.
        caused_by: _,
        requests: _,
        prekeys_wanted: _,
        public_key: _,
    } = desired;
    let same_life = state
        .as_ref()
        .filter(|state| state.incarnation == incarnation && state.server_id == *server_id)
        .filter(|_| base == Base::Here);
    if let Some(ours) = same_life.map(|state| state.revision).filter(|ours| *ours > revision) {
        return Err(StepError::Older { theirs: revision, ours });
    }
    match (change, same_life.is_some(), state.as_mut()) {
        (Change::Unchanged, true, _) => Ok(ChangeScope::Nothing),
        (
            Change::Delta {
                interface,
                upsert,
                remove,
            },
            true,
            Some(state),
        ) => Ok(state.apply(Delta {
            revision,
            interface,
            upsert,
            remove,
        })),
        (Change::Unchanged | Change::Delta { .. }, ..) => Err(StepError::NoBase),
        (Change::Snapshot { interface, peers }, ..) => {
            let peers = peers.into_iter().map(|peer| (peer.id, peer)).collect();
            *state = Some(State {
                server_id: server_id.clone(),
                incarnation,
                revision,
                interface,
                peers,
            });
            Ok(ChangeScope::All)
        }
    }
}

/// Returns a peer's networks that lie outside the interface's own networks and therefore need a route.
pub fn routed<'a>(interface: &'a Interface, peer: &'a Peer) -> impl Iterator<Item = IpNet> + 'a {
    let own = |net: &IpNet| interface.addresses.iter().any(|address| address.trunc().contains(net));
    peer.allowed_ips
        .iter()
        .map(|net| wgctl::address::normal(*net))
        .filter(move |net| !own(net))
}

#[cfg(test)]
pub(crate) mod tests;
