//! The ownership of the interface, and its readings.
//!
//! Owns the decision whether an interface may be used, and the counting of every reading. It must not
//! change peers.

use wgctl::device::{Backend, Device, Error};
use wgctl::drift::DriftPolicy;
use wgctl::name::InterfaceName;
use wgctl::protocol::v1::{Change, Desired, Peer};
use wgctl::{PublicKey, Timestamp};

use super::drift::detection;
use super::drift::detection::Baseline;
use super::reconciler::{LinkBy, Reconciler};
use crate::desired::State;
use crate::drift::Side;
use crate::host::Host;

/// Up to so many peers the interface is read before a change takes some away, for their last
/// bytes. With more, the change would wait for what exists instead of costing what changed; the
/// bytes since the last look go uncounted.
const COUNTED_FIRST: usize = 4096;

/// An interface that may be used.
pub(super) struct Fresh {
    /// As it is.
    pub(super) device: Device,
    /// The agent never configured it before.
    pub(super) new: bool,
}

impl<B: Backend, H: Host> Reconciler<B, H> {
    /// The interface, created if there is none. An error if it belongs to somebody else, or was deleted under
    /// the drift policy `report`.
    pub(super) fn ours(&mut self, state: &State, before: &Baseline<Device>, now: Timestamp) -> Result<Fresh, Error> {
        let name = &state.interface.name;
        let index = self.host.index(name)?;
        let enforced = state.interface.drift == DriftPolicy::Enforce;
        let gone = index.is_none() && before.is_known();
        if gone && !enforced && self.link_by == LinkBy::Us {
            let deleted = detection::deleted(name);
            self.ledger.retain_only(Side::Link, &[deleted.id].into());
            self.drift_stands(deleted, now);
            return Err(only_reported(name));
        }
        let made = self.link_by == LinkBy::Us && self.host.create_link(name)?;
        let same = index.is_some() && index == self.link;
        let replaced = index.is_some() && self.link.is_some() && !same;
        if made || replaced {
            // Before its first reading, which counts what it shows.
            self.counters.interface_is_new();
        }
        let device = self.present(state)?;
        // Without a key it carries no traffic. With peers, none of them ours, somebody else uses it.
        let peers_of_ours = device.peers.keys().any(|key| self.index.owner(key).is_some());
        let unused = device.private_key.is_none() && device.peers.is_empty();
        if !(unused || same || peers_of_ours || self.has_our_key(&device)) {
            return Err(somebody_elses(name));
        }
        if enforced && (gone || replaced) {
            self.drift_is_repaired(detection::deleted(name), now);
        }
        self.ledger.retain_only(Side::Link, &[].into());
        if made {
            tracing::info!(interface = %name, "made the interface");
            self.ledger.forget(|_, _| true);
        }
        let new = made || (enforced && replaced) || (self.link.is_none() && unused);
        if new {
            self.host_left = Baseline::Unknown;
        }
        Ok(Fresh { device, new })
    }

    fn has_our_key(&self, device: &Device) -> bool {
        device.private_key.as_ref() == Some(self.secrets.private_key())
    }

    /// The interface as it is; an error if there is none.
    pub(super) fn present(&mut self, state: &State) -> Result<Device, Error> {
        let missing = match self.link_by {
            LinkBy::Us => Error::NoInterface,
            LinkBy::Others => Error::NoUserspace,
        };
        self.read(state)?.ok_or_else(|| missing(state.interface.name.clone()))
    }

    fn read(&mut self, state: &State) -> Result<Option<Device>, Error> {
        let device = self.backend.read(&state.interface.name)?;
        let owner = |key: &PublicKey| self.index.owner(key);
        if let Some(device) = &device
            && (self.has_our_key(device) || device.peers.keys().any(|key| owner(key).is_some()))
        {
            let known = |id| state.peers.contains_key(&id);
            self.counters.observe(device, owner, known);
        }
        Ok(device)
    }

    /// The last dump that shows a peer before it goes is the last chance to count it.
    pub(super) fn count_before(&mut self, desired: &Desired, now: Timestamp) {
        let many = |actual: &Device| actual.peers.len() > COUNTED_FIRST;
        if self.actual.as_ref().is_some_and(many) {
            return;
        }
        let Some(state) = self.state.take() else { return };
        if takes_away(&state, desired, now) {
            // The next round reports an interface that is unreadable, gone, or has another key. Nothing
            // else of it is noted: what others changed would pass for what was left.
            let read = self.read(&state).unwrap_or_default();
            if !read.is_some_and(|device| self.has_our_key(&device))
                && let Some(left) = self.actual.take()
            {
                self.remembered = Baseline::Known(left);
            }
        }
        self.state = Some(state);
    }
}

fn somebody_elses(name: &InterfaceName) -> Error {
    Error::Refused {
        what: format!("using {name}"),
        message:
            "it is a WireGuard interface that somebody else made (its private key is another), and is left alone: \
                  remove it, or give the server record another interface"
                .to_owned(),
        errno: 0,
    }
}

fn only_reported(name: &InterfaceName) -> Error {
    Error::Refused {
        what: format!("using {name}"),
        message: "it was deleted by others, and what they change is only reported: make it again, or set the server's \
                  drift policy to enforce"
            .to_owned(),
        errno: 0,
    }
}

/// Returns whether a message removes peers or their keys, or lets them expire at once. A snapshot does
/// not matter: the round after it reads first.
fn takes_away(state: &State, desired: &Desired, now: Timestamp) -> bool {
    let (upsert, remove) = match &desired.change {
        Change::Delta {
            interface: _,
            upsert,
            remove,
        } => (upsert, remove),
        Change::Unchanged | Change::Snapshot { .. } => return false,
    };
    let ended = upsert.iter().any(|peer| {
        let rekeyed = |before: &Peer| before.public_key != peer.public_key;
        let expired = peer.expires_at.is_some_and(|end| end <= now);
        state
            .peers
            .get(&peer.id)
            .is_some_and(|before| expired || rekeyed(before))
    });
    ended || remove.iter().any(|id| state.peers.contains_key(id))
}
