//! The ownership of the interface, and the reading of its state.
//!
//! Owns the decision on whether an interface may be used, and the counting of the transfers in every reading. It
//! must not change peers.

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

/// The maximum number of peers for which the interface is read before a change removes some of them, to count
/// their last transfers. With more peers, the transfers since the last reading are not counted: otherwise the cost
/// of the change would depend on all peers instead of the changed ones.
const COUNTED_FIRST: usize = 4096;

/// An interface that may be used.
pub(super) struct UsableInterface {
    /// The current state of the interface.
    pub(super) device: Device,
    /// True if the agent has not configured the interface before.
    pub(super) new: bool,
}

impl<B: Backend, H: Host> Reconciler<B, H> {
    /// Returns the interface, and creates it if there is none. Returns an error if the interface belongs to another
    /// program, or if it has been deleted and the drift policy is `report`.
    pub(super) fn ours(
        &mut self,
        state: &State,
        before: &Baseline<Device>,
        now: Timestamp,
    ) -> Result<UsableInterface, Error> {
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
            // This must precede the first reading, which counts the transfers that it shows.
            self.counters.interface_is_new();
        }
        let device = self.present(state)?;
        // An interface without a key carries no traffic. If it has peers and none of them is recorded, another
        // program uses it.
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
            tracing::info!(interface = %name, "created the interface");
            self.ledger.forget(|_, _| true);
        }
        let new = made || (enforced && replaced) || (self.link.is_none() && unused);
        if new {
            self.host_left = Baseline::Unknown;
        }
        Ok(UsableInterface { device, new })
    }

    fn has_our_key(&self, device: &Device) -> bool {
        device.private_key.as_ref() == Some(self.secrets.private_key())
    }

    /// Returns the current state of the interface, or an error if there is none.
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

    /// Reads the interface before `desired` removes peers, because this is the last opportunity to count their
    /// transfers.
    pub(super) fn count_before(&mut self, desired: &Desired, now: Timestamp) {
        let many = |actual: &Device| actual.peers.len() > COUNTED_FIRST;
        if self.actual.as_ref().is_some_and(many) {
            return;
        }
        let Some(state) = self.state.take() else { return };
        if takes_away(&state, desired, now) {
            // The next round reports an interface that is unreadable or deleted, or that has a different key. Nothing
            // else from this reading is stored: external changes would be mistaken for the state in which the agent
            // left the interface.
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
            "it is a WireGuard interface with a different private key, which this agent did not create, and is left as \
                  it is: remove it, or set another interface in the server's record"
                .to_owned(),
        errno: 0,
    }
}

fn only_reported(name: &InterfaceName) -> Error {
    Error::Refused {
        what: format!("using {name}"),
        message:
            "it has been deleted externally, and such changes are only reported: create it again, or set the server's \
                  drift policy to enforce"
                .to_owned(),
        errno: 0,
    }
}

/// Returns whether a message removes peers, changes their keys, or makes them expire immediately. A snapshot
/// needs no check, because the round after it reads the interface first.
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
