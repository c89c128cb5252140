//! Changes to a few peers, at a cost that depends on these peers only.
//!
//! Owns the planning against the last reading, and the update of that reading. Any failure leads to a full round.
//! It must not read the interface.

use std::collections::BTreeSet;
use std::time::Instant;

use wgctl::device::plan::{Scope, plan};
use wgctl::device::{Backend, DesiredDevice, DesiredPeer, Device};
use wgctl::{PeerId, PublicKey, Timestamp};

use crate::desired::State;
use crate::host::Host;
use crate::metrics::ComparisonScope;
use crate::reconcile::drift::detection::Baseline;
use crate::reconcile::reconciler::Reconciler;

impl<B: Backend, H: Host> Reconciler<B, H> {
    /// Applies the change to these peers. `keys` are the keys that they had before and have now.
    pub(crate) fn change(&mut self, ids: &BTreeSet<PeerId>, keys: &[PublicKey], now: Timestamp) {
        let began = Instant::now();
        let Some(mut actual) = self.actual.take() else {
            self.reindex();
            return self.round(now);
        };
        let Some(state) = self.state.take() else { return };
        let routes_moved = self.index_again(&state, ids, keys);
        // Another judgement may concern any peer.
        if routes_moved && self.judge_network(&state, now).unwrap_or(true) {
            self.remembered = Baseline::Known(actual);
            self.state = Some(state);
            return self.round(now);
        }
        let (peers, failed) = self.desired_peers(&state, ids.iter(), &actual, now);
        let desired = self.desired_device(&state, peers);
        let changes = plan(&desired, &actual, &Scope::Peers(keys)).peers;
        let applied = match changes.is_empty() {
            true => Ok(()),
            false => self.send(&state, changes),
        };
        let routed = match routes_moved {
            true => self.configure(&state, now),
            false => Ok(()),
        };
        if let Err(error) = applied.and(routed) {
            tracing::debug!("{error}: comparing the whole interface");
            // The state of these peers is unknown; the other peers are unchanged.
            desired.peers.keys().for_each(|key| drop(actual.peers.remove(key)));
            self.remembered = Baseline::Known(actual);
            self.state = Some(state);
            self.metrics.reconciled(ComparisonScope::Peers, began.elapsed(), false);
            return self.round(now);
        }
        remember(&mut actual, &desired, keys);
        self.actual = Some(actual);
        self.verdict.revision = state.revision;
        self.verdict.failed.retain(|id, _| !ids.contains(id));
        self.verdict.failed.extend(failed);
        let expiries = ids
            .iter()
            .filter_map(|id| state.peers.get(id)?.expires_at)
            .filter(|end| *end > now);
        self.next_expiry = expiries.chain(self.next_expiry).min();
        self.state = Some(state);
        self.metrics.reconciled(ComparisonScope::Peers, began.elapsed(), true);
        self.note_verdict();
    }

    /// Updates the index. Returns whether the routes must be configured again.
    fn index_again(&mut self, state: &State, ids: &BTreeSet<PeerId>, keys: &[PublicKey]) -> bool {
        let before = self.index.routed(ids);
        keys.iter().for_each(|key| self.index.remove(key));
        for id in ids {
            match state.peers.get(id) {
                Some(peer) => self.index.insert(&state.interface, peer),
                None => self.opened.forget(id),
            }
        }
        let after = self.index.routed(ids);
        // The routes of an expired peer have been removed, and its expiry may have been postponed since.
        let expires = |id: &PeerId| state.peers.get(id).is_some_and(|peer| peer.expires_at.is_some());
        before != after || (!after.is_empty() && ids.iter().any(expires))
    }
}

/// Updates the last reading with the changes that were sent.
fn remember(actual: &mut Device, desired: &DesiredDevice, keys: &[PublicKey]) {
    for key in keys {
        match desired.peers.get(key) {
            None => {
                actual.peers.remove(key);
            }
            Some(DesiredPeer {
                preshared_key,
                persistent_keepalive,
                allowed_ips,
                endpoint,
            }) => {
                let peer = actual.peers.entry(*key).or_default();
                peer.preshared_key.clone_from(preshared_key);
                peer.persistent_keepalive = *persistent_keepalive;
                peer.allowed_ips.clone_from(allowed_ips);
                peer.endpoint = endpoint.or(peer.endpoint);
            }
        }
    }
}
