//! The decision on whether drift is repaired, left as it is, or superseded.
//!
//! Owns that decision, which follows the server's drift policy, and the recording of the outcome in the ledger. It
//! must not compare states (`detection` does) or send changes (`round` does).

use std::collections::BTreeSet;

use wgctl::device::Backend;
use wgctl::drift::{DriftKind, DriftPolicy};
use wgctl::{PeerId, PublicKey, Timestamp};

use crate::desired::State;
use crate::drift::{Finding, Id, Side, Subject};
use crate::host::Host;
use crate::reconcile::reconciler::Reconciler;

/// The findings of a comparison, and the drift that is left as it is.
pub(crate) struct Assessment {
    pub(super) found: Vec<Finding>,
    pub(crate) left: BTreeSet<Id>,
    /// True if the earlier state is known. In the first comparison after a start, it is only assumed. Drift from an
    /// assumed state is not recorded if it cannot be repaired, because that state probably never existed.
    pub(super) certain: bool,
}

impl<B: Backend, H: Host> Reconciler<B, H> {
    /// Decides which findings are left as they are, according to the server's drift policy.
    pub(crate) fn judge(&self, state: &State, found: Vec<Finding>, certain: bool) -> Assessment {
        let concerned = found.iter().filter(|found| self.concerns(found));
        let left = match state.interface.drift {
            DriftPolicy::Enforce => BTreeSet::new(),
            DriftPolicy::Report => concerned.map(|found| found.id).collect(),
        };
        Assessment { found, left, certain }
    }

    /// Returns whether the finding counts as drift, now or since an earlier round.
    fn concerns(&self, found: &Finding) -> bool {
        found.drifted || self.ledger.stands(&found.id)
    }

    /// Records the outcome for each drift. `differing` returns the differences that remain.
    pub(crate) fn conclude(
        &mut self,
        state: &State,
        side: Side,
        assessment: Assessment,
        now: Timestamp,
        differing: impl FnOnce(&Self) -> Vec<Finding>,
    ) {
        let Assessment { found, left, certain } = assessment;
        let concerned: Vec<Finding> = found.into_iter().filter(|found| self.concerns(found)).collect();
        let stays: BTreeSet<Id> = concerned.iter().map(|found| found.id).collect();
        self.ledger.retain_only(side, &stays);
        if concerned.is_empty() {
            return;
        }
        let still = match state.interface.drift {
            DriftPolicy::Report => left,
            DriftPolicy::Enforce => differing(self).into_iter().map(|found| found.id).collect(),
        };
        for found in concerned {
            if !still.contains(&found.id) {
                self.drift_is_repaired(found, now);
            } else if certain || state.interface.drift == DriftPolicy::Report {
                self.drift_stands(found, now);
            }
        }
    }

    /// Removes standing drift of peers whose record has changed: the record is applied despite external changes.
    pub(crate) fn peers_were_changed(&mut self, ids: &BTreeSet<PeerId>, keys: &[PublicKey]) {
        let routed = self.index.routed(ids);
        self.ledger.forget(|id, drift| match id.subject {
            Subject::Peer(key) => keys.contains(&key) || drift.peer.is_some_and(|peer| ids.contains(&peer)),
            Subject::Network(network) => id.kind == DriftKind::RouteRemoved && routed.contains(&network),
            Subject::Interface => false,
        });
    }
}
