//! Sends changes of peers, so that one bad peer does not keep the others out.
//!
//! Owns the order after a refusal. It must not decide what is desired.

use std::collections::BTreeMap;

use wgctl::PublicKey;
use wgctl::device::plan::{ChangeKind, PeerChange, Scope, plan};
use wgctl::device::{Backend, DesiredDevice, Error, Plan};

use crate::desired::State;
use crate::host::Host;
use crate::reconcile::reconciler::Reconciler;

/// After this many refusals in one round, the peers are not the reason.
const ENOUGH: usize = 1000;

impl<B: Backend, H: Host> Reconciler<B, H> {
    /// Sends changes of peers. Those that are created count from zero.
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

    /// After a refusal: reads again, and sends the rest one peer at a time. Returns the reasons of the refused
    /// peers; an error if the peers are not the reason.
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
                Err(error @ Error::Refused { .. }) if refused.len() < ENOUGH => {
                    refused.insert(key, error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    }
}
