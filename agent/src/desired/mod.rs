//! The desired state of this host, as the plane last sent it.
//!
//! Owns the state and the pure step from one revision to the next. It must not do I/O.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use wgctl::name::Incarnation;
use wgctl::protocol::v1::{Change, Desired, Interface, Peer};
use wgctl::{PeerId, PublicKey, ServerId};

/// The desired state at a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The server that this host is.
    pub server_id: ServerId,
    /// The incarnation of the database that `revision` belongs to.
    pub incarnation: Incarnation,
    /// The revision.
    pub revision: u64,
    /// The interface.
    pub interface: Interface,
    /// The peers.
    pub peers: BTreeMap<PeerId, Peer>,
}

impl State {
    /// Applies one change. Returns the peers it concerns, and the keys they had and have.
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
    /// The interface, if it changed.
    pub interface: Option<Interface>,
    /// Peers that are new or changed.
    pub upsert: Vec<Peer>,
    /// Peers that were removed.
    pub remove: Vec<PeerId>,
}

impl Delta {
    /// The change in an answer of the plane, if it holds one.
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

/// The state that an answer of the plane builds on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// The agent's current state.
    Here,
    /// None: everything was asked for, and the answer replaces any state. So a server that was removed and
    /// created again, whose revisions start from one, is followed.
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
        /// The keys they had and have.
        keys: Vec<PublicKey>,
    },
    /// Everything.
    All,
}

/// An answer that does not fit the state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// A delta to a state that the agent does not have.
    #[error("the plane sent changes to a state that this agent does not have: asking for everything")]
    NoBase,
    /// An answer with an older revision.
    #[error("the plane sent revision {theirs}, older than {ours}, which this agent has: asking for everything")]
    Older {
        /// The revision of the answer.
        theirs: u64,
        /// The revision of the state.
        ours: u64,
    },
}

/// Applies one answer of the plane.
pub fn step(
    state: &mut Option<State>,
    server_id: &ServerId,
    desired: Desired,
    base: Base,
) -> Result<ChangeScope, StepError> {
    let Desired {
        // Agreed on at the introduction.
        version: _,
        incarnation,
        revision,
        change,
        // For the log and for the conversation, not for the state.
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
        ) => {
            let all = interface.is_some();
            let (ids, keys) = state.change(Delta {
                revision,
                interface,
                upsert,
                remove,
            });
            Ok(if all {
                ChangeScope::All
            } else {
                ChangeScope::Peers { ids, keys }
            })
        }
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

/// The networks of a peer that are outside the interface's own, and so need a route.
pub fn routed<'a>(interface: &'a Interface, peer: &'a Peer) -> impl Iterator<Item = IpNet> + 'a {
    let own = |net: &IpNet| interface.addresses.iter().any(|address| address.trunc().contains(net));
    peer.allowed_ips
        .iter()
        .map(|net| wgctl::address::normal(*net))
        .filter(move |net| !own(net))
}

#[cfg(test)]
pub(crate) mod tests {
    use wgctl::PrivateKey;

    use super::*;

    /// A peer with this number's address and a fresh key.
    pub(crate) fn peer(number: u8) -> Peer {
        Peer {
            id: PeerId::random(),
            public_key: PrivateKey::generate().unwrap().public_key(),
            preshared_key: None,
            allowed_ips: vec![format!("10.8.0.{number}/32").parse().unwrap()],
            persistent_keepalive: None,
            expires_at: None,
        }
    }

    pub(crate) fn interface() -> Interface {
        Interface {
            name: "wg0".parse().unwrap(),
            listen_port: 51820,
            addresses: vec!["10.8.0.1/24".parse().unwrap()],
            mtu: None,
            masquerade: false,
            ping_target: None,
            drift: wgctl::drift::DriftPolicy::default(),
        }
    }

    pub(crate) fn server() -> ServerId {
        "los-angeles".parse().unwrap()
    }

    pub(crate) fn answer(incarnation: Incarnation, revision: u64, change: Change) -> Desired {
        Desired {
            version: 1,
            incarnation,
            revision,
            change,
            caused_by: Vec::new(),
            requests: Vec::new(),
            prekeys_wanted: 0,
            public_key: None,
        }
    }

    pub(crate) fn snapshot(peers: &[Peer]) -> Change {
        Change::Snapshot {
            interface: interface(),
            peers: peers.to_vec(),
        }
    }

    fn step(state: &mut Option<State>, server_id: &ServerId, desired: Desired) -> Result<ChangeScope, StepError> {
        super::step(state, server_id, desired, Base::Here)
    }

    fn change(upsert: &[Peer], remove: &[PeerId]) -> Change {
        Change::Delta {
            interface: None,
            upsert: upsert.to_vec(),
            remove: remove.to_vec(),
        }
    }

    #[test]
    fn a_snapshot_replaces_and_a_delta_names_what_it_touches() {
        let (life, mut state) = (Incarnation::random(), None);
        let (one, two) = (peer(2), peer(3));
        let all = snapshot(&[one.clone(), two.clone()]);
        assert_eq!(step(&mut state, &server(), answer(life, 4, all)), Ok(ChangeScope::All));
        let mut rekeyed = two.clone();
        rekeyed.public_key = PrivateKey::generate().unwrap().public_key();
        let touched = step(
            &mut state,
            &server(),
            answer(life, 6, change(&[rekeyed.clone()], &[one.id])),
        )
        .unwrap();
        assert_eq!(
            touched,
            ChangeScope::Peers {
                ids: BTreeSet::from([one.id, two.id]),
                keys: vec![one.public_key, rekeyed.public_key, two.public_key]
            }
        );
        let state = state.unwrap();
        assert_eq!(
            (state.revision, state.peers.into_values().collect::<Vec<_>>()),
            (6, vec![rekeyed])
        );
    }

    #[test]
    fn a_delta_without_its_base_asks_for_everything() {
        let (life, mut state) = (Incarnation::random(), None);
        assert_eq!(
            step(&mut state, &server(), answer(life, 4, change(&[], &[]))),
            Err(StepError::NoBase)
        );
        step(&mut state, &server(), answer(life, 4, snapshot(&[peer(2)]))).unwrap();
        let another = Incarnation::random();
        assert_eq!(
            step(&mut state, &server(), answer(another, 9, change(&[], &[]))),
            Err(StepError::NoBase)
        );
        assert_eq!(
            step(&mut state, &server(), answer(another, 1, Change::Unchanged)),
            Err(StepError::NoBase)
        );
        assert_eq!(state.unwrap().peers.len(), 1, "nothing was lost");
    }

    #[test]
    fn an_older_revision_never_replaces_a_newer_one() {
        let (life, mut state) = (Incarnation::random(), None);
        step(&mut state, &server(), answer(life, 4, snapshot(&[peer(2)]))).unwrap();
        for late in [snapshot(&[]), change(&[], &[]), Change::Unchanged] {
            let refused = step(&mut state, &server(), answer(life, 3, late));
            assert_eq!(refused, Err(StepError::Older { theirs: 3, ours: 4 }));
        }
        assert_eq!(state.as_ref().unwrap().peers.len(), 1);
        let restored = answer(Incarnation::random(), 1, snapshot(&[]));
        assert_eq!(
            step(&mut state, &server(), restored),
            Ok(ChangeScope::All),
            "another life counts anew"
        );
    }

    #[test]
    fn an_older_snapshot_replaces_a_newer_state_when_everything_was_asked_for() {
        let (life, mut state) = (Incarnation::random(), None);
        step(&mut state, &server(), answer(life, 4, snapshot(&[peer(2)]))).unwrap();
        let taken = super::step(&mut state, &server(), answer(life, 1, snapshot(&[])), Base::Nothing);
        assert_eq!((taken, state.unwrap().revision), (Ok(ChangeScope::All), 1));
    }

    #[test]
    fn only_networks_outside_the_interfaces_own_are_routed() {
        let mut routed_peer = peer(2);
        routed_peer.allowed_ips.push("10.50.0.7/16".parse().unwrap());
        let routes: Vec<_> = routed(&interface(), &routed_peer).collect();
        assert_eq!(routes, ["10.50.0.0/16".parse::<IpNet>().unwrap()]);
    }
}
