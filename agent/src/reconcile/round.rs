//! A full round: reads the interface and makes it agree with the desired state.
//!
//! Owns the order in which changes are sent. It must not decide what is desired, or which differences are left as
//! they are: that belongs to `drift::repair`.

use std::collections::BTreeMap;
use std::time::Instant;

use wgctl::device::plan::{PeerChange, Scope, plan};
use wgctl::device::{Backend, DesiredDevice, Device, Error, Plan};
use wgctl::drift::{DriftKind, DriftPolicy};
use wgctl::name::InterfaceName;
use wgctl::protocol::v1::Peer;
use wgctl::{PeerId, PublicKey, Timestamp};

use super::drift::detection;
use super::drift::detection::Baseline;
use super::reconciler::Reconciler;
use super::verdict::{only_reported, reasons};
use crate::desired::State;
use crate::drift::Side;
use crate::host::{Host, Spec};
use crate::metrics::ComparisonScope;

/// The MTU that the kernel assigns to a WireGuard link (`wg_setup`, `drivers/net/wireguard/device.c`): the
/// payload of an Ethernet frame minus the overhead of a tunnel over IPv6.
const DEFAULT_MTU: u16 = 1420;

impl<B: Backend, H: Host> Reconciler<B, H> {
    /// Reads the whole interface and makes it agree with the desired state.
    pub fn round(&mut self, now: Timestamp) {
        let began = Instant::now();
        let Some(state) = self.state.take() else { return };
        self.verdict.begin(&state);
        let before = match self.actual.take() {
            Some(device) => Baseline::Known(device),
            None => std::mem::take(&mut self.remembered),
        };
        let outcome = match self.ours(&state, &before, now) {
            Ok(fresh) => {
                let before = if fresh.new { Baseline::Unknown } else { before };
                self.carry_out(&state, &before, fresh.device, now)
                    .map_err(|error| (before, error))
            }
            Err(error) => Err((before, error)),
        };
        match outcome {
            Ok(trouble) => {
                self.verdict.revision = state.revision;
                self.verdict.interface_failed = trouble;
            }
            Err((before, error)) => {
                // The changes that were sent match the record and are therefore not drift; everything else is as the
                // agent left it earlier.
                self.remembered = before;
                // The interface either does not exist or must not be used, so no revision is applied. A failed
                // exchange with the kernel, however, does not reveal the state of the interface.
                if !matches!(error, Error::Io { .. } | Error::Protocol { .. }) {
                    self.verdict.revision = 0;
                }
                self.next_expiry = None;
                self.verdict.interface_failed = Some(error.to_string());
            }
        }
        self.watch(&state.interface.name);
        self.note_seen(&state);
        self.state = Some(state);
        self.publish_drift();
        let ok = self.verdict.is_clean();
        self.metrics.reconciled(ComparisonScope::All, began.elapsed(), ok);
        self.note_verdict();
    }

    /// Copies the number of peers on the interface and their latest handshake to the metrics.
    fn note_seen(&self, state: &State) {
        let Some(actual) = &self.actual else { return };
        let there = |peer: &&Peer| actual.peers.contains_key(&peer.public_key);
        let count = state.peers.values().filter(there).count();
        let latest = actual.peers.values().filter_map(|peer| peer.latest_handshake).max();
        self.metrics.seen(count as u64, latest);
    }

    /// Applies the state. Returns the failures of the interface's own settings, which do not prevent peers from
    /// being applied.
    fn carry_out(
        &mut self,
        state: &State,
        before: &Baseline<Device>,
        actual: Device,
        now: Timestamp,
    ) -> Result<Option<String>, Error> {
        let name = &state.interface.name;
        let judged = self.judge_network(state, now);
        let (peers, mut failed) = self.desired_peers(state, state.peers.keys(), &actual, now);
        let mut desired = self.desired_device(state, peers);
        let assessment = self.judge(
            state,
            detection::device(name, &desired, &actual, before, |key| self.index.owner(key)),
            !matches!(before, Baseline::AsCached),
        );
        detection::leave(&mut desired, &actual, &assessment.left);

        let mut plan = plan(&desired, &actual, &Scope::All);
        if assessment.left.iter().any(|id| id.kind == DriftKind::PrivateKeyChanged) {
            plan.private_key = None;
        }
        let changes = std::mem::take(&mut plan.peers);
        let silent = plan.is_empty() && changes.is_empty();
        let mut trouble = self.send_settings(name, plan);
        let refused = self.send_peers(state, &desired, changes)?;
        // Without a judgement the host side stays as it is.
        let configured = judged.and_then(|_| self.configure(state, now));
        trouble.extend(configured.err().map(|error| error.to_string()));
        trouble.extend(self.refused_addresses());
        let actual = if silent { actual } else { self.present(state)? };

        self.conclude(state, Side::Device, assessment, now, |reconciler| {
            let owner = |key: &PublicKey| reconciler.index.owner(key);
            detection::device(name, &desired, &actual, &Baseline::Unknown, owner)
        });
        // Peers that could not be set up keep their original reason.
        let mut differing = reasons(&desired, &actual, &refused, |key| self.index.owner(key));
        differing.append(&mut failed);
        if state.interface.drift == DriftPolicy::Report {
            differing.extend(only_reported(self.ledger.standing()));
        }
        self.verdict.failed = differing;
        self.actual = Some(actual);
        let ends = state.peers.values().filter_map(|peer| peer.expires_at);
        self.next_expiry = ends.filter(|end| *end > now).min();
        Ok((!trouble.is_empty()).then(|| trouble.join("; ")))
    }

    /// Sends the settings of the interface in `plan`. Returns the failures.
    fn send_settings(&mut self, name: &InterfaceName, mut plan: Plan) -> Vec<String> {
        // The key is sent first and in a message of its own. It marks the interface as the agent's, and a port
        // that is in use would end a combined message before the key is accepted.
        let key = Plan {
            private_key: plan.private_key.take(),
            ..Plan::default()
        };
        let mut failures = Vec::new();
        for plan in [key, plan].iter().filter(|plan| !plan.is_empty()) {
            self.metrics.written(1);
            failures.extend(self.backend.apply(name, plan).err().map(|error| error.to_string()));
        }
        failures
    }

    /// Sends the peer changes. Returns the refused peers with the reasons.
    fn send_peers(
        &mut self,
        state: &State,
        desired: &DesiredDevice,
        changes: Vec<PeerChange>,
    ) -> Result<BTreeMap<PublicKey, String>, Error> {
        if changes.is_empty() {
            return Ok(BTreeMap::new());
        }
        if self.verdict.is_clean() {
            tracing::info!(interface = %state.interface.name, peers = changes.len(), "changing peers");
        }
        match self.send(state, changes) {
            Ok(()) => Ok(BTreeMap::new()),
            Err(error) => self.one_by_one(state, desired, error),
        }
    }

    /// Makes the host side agree with the desired state, except for drift that is left as it is.
    pub(super) fn configure(&mut self, state: &State, now: Timestamp) -> Result<(), Error> {
        let spec = self.spec(state, now).without(self.guard.judgement());
        let shown = self.host.read(&spec)?;
        let before = std::mem::take(&mut self.host_left);
        let certain = !matches!(before, Baseline::AsCached);
        let assessment = self.judge(state, detection::host(&spec, &shown, &before), certain);
        let mut may = |difference: &_| detection::id(difference).is_none_or(|id| !assessment.left.contains(&id));
        let outcome = match self.host.settle(&spec, shown, &mut may) {
            Ok(outcome) => outcome,
            Err(error) => {
                self.host_left = before;
                return Err(error);
            }
        };
        self.metrics.written(outcome.writes as usize);
        if outcome.writes > 0 {
            let (interface, writes) = (&spec.name, outcome.writes);
            tracing::info!(%interface, writes, "configured addresses, routes and masquerading");
        }
        self.conclude(state, Side::Host, assessment, now, |_| {
            detection::host(&spec, &outcome.state, &Baseline::Unknown)
        });
        self.link = Some(outcome.state.index);
        self.host_left = Baseline::Known(outcome.state);
        outcome.trouble.map_or(Ok(()), Err)
    }

    pub(super) fn spec(&self, state: &State, now: Timestamp) -> Spec {
        let expired = |peer: &Peer| peer.expires_at.is_some_and(|end| end <= now);
        let there = |id: &PeerId| !state.peers.get(id).is_some_and(expired);
        let spec = Spec::of(&state.interface, self.index.routes(there));
        Spec {
            // An MTU that the agent has set is reset to the default; any other is left as it is.
            mtu: spec.mtu.or(self.mtu_was_set.then_some(DEFAULT_MTU)),
            ..spec
        }
    }
}
