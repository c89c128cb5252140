//! The sending of peer changes to the kernel, in such a way that one invalid peer does not block the rest.
//!
//! Owns the procedure after a refusal. It must not decide what is desired.

use std::collections::BTreeMap;

use wgctl::PublicKey;
use wgctl::device::plan::{ChangeKind, PeerChange, Scope, plan};
use wgctl::device::{Backend, DesiredDevice, Error, Plan};

use crate::desired::State;
use crate::host::Host;
use crate::reconcile::reconciler::Reconciler;

/// The number of refusals in one round after which the peers are assumed not to be the cause.
const MAX_REFUSALS: usize = 1000;

impl<B: Backend, H: Host> Reconciler<B, H> {
    /// Sends peer changes to the kernel. The counters of created peers start at zero.
    pub(crate) fn send(&mut self, state: &State, peers: Vec<PeerChange>) -> Result<(), Error> {
        for change in peers.iter().filter(|change| change.kind == ChangeKind::Create) {
            let owner = self.index.owner(&change.public_key);
            self.counters.peer_is_new(&change.public_key, owner);
        }
        self.metrics.written(peers.len());
        self.backend.apply(
            &state.interface.name,
            &Plan {
                peers,
                ..Plan::default()
            },
        )
    }

    /// Reads the interface again after a refusal, and sends the remaining changes one peer at a time. Returns the
    /// reasons for the refused peers, or an error if the peers are not the cause.
    pub(crate) fn one_by_one(
        &mut self,
        state: &State,
        desired: &DesiredDevice,
        error: Error,
    ) -> Result<BTreeMap<PublicKey, String>, Error> {
        if !matches!(error, Error::Refused { .. }) {
            return Err(error);
        }
        tracing::debug!("{error}: trying the peers one by one");
        let actual = self.present(state)?;
        let mut refused = BTreeMap::new();
        for change in plan(desired, &actual, &Scope::All).peers {
            let key = change.public_key;
            match self.send(state, vec![change]) {
                Ok(()) => {}
                Err(error @ Error::Refused { .. }) if refused.len() < MAX_REFUSALS => {
                    refused.insert(key, error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    }
}
