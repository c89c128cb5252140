//! The interface itself: whether it is ours, and what it shows.
//!
//! Owns the decision that an interface may be used, and that every reading is counted. It must not
//! change peers.

use wgctl::device::{Backend, Device, Error};
use wgctl::protocol::v1::{Change, Desired};

use super::{LinkBy, Reconciler};
use crate::desired::State;
use crate::host::Host;

/// Up to so many peers the interface is read before a change takes some away, for their last
/// bytes. With more, the change would wait for what exists instead of costing what changed; the
/// bytes since the last look go uncounted.
const COUNTED_FIRST: usize = 4096;

impl<B: Backend, H: Host> Reconciler<B, H> {
    /// The interface, made if there is none; an error if it is somebody else's.
    pub(super) fn ours(&mut self, state: &State) -> Result<Device, Error> {
        let name = &state.interface.name;
        if self.link_by == LinkBy::Us && self.host.create_link(name)? {
            tracing::info!(interface = %name, "made the interface");
            self.counters.interface_is_new();
        }
        let device = self.present(state)?;
        // Without a key it carries nothing. With peers, and none of them ours, somebody is at it.
        let ours = |key| self.index.owner(key).is_some();
        let unused = device.private_key.is_none() && (device.peers.is_empty() || device.peers.keys().any(ours));
        if unused || self.has_our_key(&device) {
            return Ok(device);
        }
        Err(Error::Refused {
            what: format!("using {name}"),
            message:
                "it is a WireGuard interface that somebody else made (its private key is another), and is left alone: \
                      remove it, or give the server record another interface"
                    .to_owned(),
            errno: 0,
        })
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
        if let Some(device) = &device
            && self.has_our_key(device)
        {
            let known = |id| state.peers.contains_key(&id);
            self.counters.observe(device, |key| self.index.owner(key), known);
        }
        Ok(device)
    }

    /// The last dump that shows a peer before it goes is the last chance to count it.
    pub(super) fn count_before(&mut self, desired: &Desired) {
        let few = |actual: &Device| actual.peers.len() <= COUNTED_FIRST;
        if !self.actual.as_ref().is_some_and(few) {
            return;
        }
        let Some(state) = self.state.take() else { return };
        if takes_away(&state, desired) {
            // What cannot be read, is gone or is not ours (any more) is the next round's to say.
            self.actual = match self.read(&state) {
                Ok(device) => device.filter(|device| self.has_our_key(device)),
                Err(_) => None,
            };
        }
        self.state = Some(state);
    }
}

/// Whether a message takes peers away, or their keys. A snapshot does not matter: the round that
/// follows it reads first.
fn takes_away(state: &State, desired: &Desired) -> bool {
    let Change::Delta { upsert, remove, .. } = &desired.change else {
        return false;
    };
    let rekeyed = upsert.iter().any(|peer| {
        let before = state.peers.get(&peer.id);
        before.is_some_and(|before| before.public_key != peer.public_key)
    });
    rekeyed || remove.iter().any(|id| state.peers.contains_key(id))
}
