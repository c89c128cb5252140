//! The reconciler for one interface: its state, and the step from one plane response to the next.
//!
//! Owns the desired state, the last known actual state, and the order in which a response is stored and applied. It
//! must not wait or dial a plane: the event loop supplies its input.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;
use wgctl::device::{Backend, Device};
use wgctl::name::InterfaceName;
use wgctl::protocol::v1::{Desired, DriftReport};
use wgctl::{ServerId, Timestamp};

use super::drift::detection::Baseline;
use super::peers::goal::PresharedKeyCache;
use super::peers::index::Index;
use super::{Target, Verdict};
use crate::cache::{self, Cache};
use crate::counters::{Counters, uptime};
use crate::desired::{Base, ChangeScope, Delta, State, StepError, step};
use crate::drift::{DriftReceipt, Finding, Ledger};
use crate::guard::{Guard, Settings};
use crate::host::{Host, HostState};
use crate::metrics::Metrics;
use crate::secrets::Secrets;

/// The party that creates the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkBy {
    /// The agent creates the link.
    Us,
    /// A userspace process that is started separately creates the link.
    Others,
}

/// The reconciler for one interface.
pub struct Reconciler<B, H> {
    pub(super) backend: B,
    pub(super) host: H,
    pub(super) guard: Guard,
    pub(super) link_by: LinkBy,
    pub(super) secrets: Arc<Secrets>,
    pub(super) folder: PathBuf,
    pub(super) cache: Cache,
    pub(super) state: Option<State>,
    pub(super) index: Index,
    pub(super) opened: PresharedKeyCache,
    /// The interface as last read, updated with the changes sent since; `None` before the first reading and after
    /// an error.
    pub(super) actual: Option<Device>,
    /// The state in which the agent left the interface, used if `actual` is `None`.
    pub(super) remembered: Baseline<Device>,
    /// The state in which the agent left the host side.
    pub(super) host_left: Baseline<HostState>,
    /// The index of the link that the agent has used since it started.
    pub(super) link: Option<u32>,
    /// True if the record had an MTU and has none now.
    pub(super) mtu_was_set: bool,
    pub(super) verdict: Verdict,
    pub(super) counters: Counters,
    pub(super) ledger: Ledger,
    pub(super) reports: watch::Sender<Option<DriftReport>>,
    pub(super) target: watch::Sender<Option<Target>>,
    pub(super) next_expiry: Option<Timestamp>,
    pub(super) metrics: Metrics,
}

impl<B: Backend, H: Host> Reconciler<B, H> {
    /// Creates a reconciler with the state stored in `folder`. The cached state is loaded, but nothing is sent
    /// yet.
    pub fn new(backend: B, host: H, link_by: LinkBy, secrets: Arc<Secrets>, folder: PathBuf) -> Self {
        let (cache, cached) = Cache::open(&folder);
        let state = cached.unwrap_or_else(|error| {
            tracing::error!("{error}");
            None
        });
        let counters = counters(&folder, cache::exists(&folder));
        let ledger = Ledger::load(&folder).unwrap_or_else(|error| {
            tracing::error!(
                "{}: drift.json cannot be read ({error}): counting starts again",
                folder.display()
            );
            Ledger::default()
        });
        let index = state.as_ref().map_or_else(Index::default, |state| {
            Index::new(&state.interface, state.peers.values())
        });
        let verdict = Verdict::of(state.as_ref());
        let cached = state.is_some();
        Self {
            backend,
            host,
            guard: Guard::open(Settings::default(), folder.clone()),
            link_by,
            secrets,
            folder,
            cache,
            state,
            index,
            opened: PresharedKeyCache::default(),
            actual: None,
            remembered: if cached { Baseline::AsCached } else { Baseline::Unknown },
            host_left: if cached { Baseline::AsCached } else { Baseline::Unknown },
            link: None,
            mtu_was_set: false,
            verdict,
            counters,
            ledger,
            reports: watch::Sender::new(None),
            target: watch::Sender::new(None),
            next_expiry: None,
            metrics: Metrics::default(),
        }
    }

    /// Guards the host with these settings.
    #[must_use]
    pub fn guarded(mut self, settings: Settings) -> Self {
        self.guard = Guard::open(settings, self.folder.clone());
        self
    }

    /// Returns the desired state, once it is known.
    pub const fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// Returns the verdict on the desired state.
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Returns the time at which the next peer expires.
    pub const fn next_expiry(&self) -> Option<Timestamp> {
        self.next_expiry
    }

    /// Returns the counters for the plane.
    pub const fn counters(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// Returns the agent's metrics.
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Copies the counters to the metrics.
    pub fn note_counters(&self) {
        self.metrics.counted(self.counters.total(), self.counters.waiting());
    }

    /// Records drift that has been repaired.
    pub(super) fn drift_is_repaired(&mut self, found: Finding, now: Timestamp) {
        self.note_found(&found);
        self.metrics.drift_repaired(found.id.kind);
        self.ledger.add_repaired(found, now);
    }

    /// Records drift that remains for now.
    pub(super) fn drift_stands(&mut self, found: Finding, now: Timestamp) {
        self.note_found(&found);
        self.ledger.add_standing(found, now);
    }

    pub(super) fn note_found(&self, found: &Finding) {
        if !self.ledger.stands(&found.id) {
            self.metrics.drift_found(found.id.kind);
        }
    }

    /// Copies the verdict to the metrics.
    pub(super) fn note_verdict(&self) {
        let desired = self.state.as_ref().map_or(0, |state| state.revision);
        let failing = self.verdict.failed.len();
        self.metrics.revisions(desired, self.verdict.revision, failing);
        self.metrics.drift_stands(self.ledger.standing().count());
    }

    /// Returns the channel that carries the drift report for the plane.
    pub fn reports(&self) -> watch::Receiver<Option<DriftReport>> {
        self.reports.subscribe()
    }

    /// Returns the channel that carries the interface to watch, once it is known.
    pub fn target(&self) -> watch::Receiver<Option<Target>> {
        self.target.subscribe()
    }

    /// Processes a message from the plane that concerns drift reports.
    pub fn take_drift_receipt(&mut self, told: DriftReceipt) {
        match told {
            DriftReceipt::PlaneConnected => self.ledger.tell_again(),
            DriftReceipt::Acknowledged(sequence) => self.ledger.acknowledge(sequence),
        }
        self.publish_drift();
    }

    pub(super) fn publish_drift(&mut self) {
        let mut report = self.ledger.report();
        if let Err(error) = self.ledger.save(&self.folder) {
            tracing::error!("{}: drift.json cannot be saved: {error}", self.folder.display());
            // After a crash, a different report might be sent with the same number.
            report = None;
        }
        self.reports.send_if_modified(|published| {
            let news = *published != report;
            *published = report;
            news
        });
    }

    pub(super) fn watch(&self, name: &InterfaceName) {
        self.target.send_replace(Some(Target {
            name: name.clone(),
            index: self.link,
        }));
    }

    /// Takes one response from the plane and applies it. The response is written to the cache first: everything that
    /// is confirmed must survive a power failure, even without a plane.
    pub fn take(
        &mut self,
        server: &ServerId,
        mut desired: Desired,
        base: Base,
        now: Timestamp,
    ) -> Result<ChangeScope, StepError> {
        let (causes, revision) = (std::mem::take(&mut desired.caused_by), desired.revision);
        self.count_before(&desired, now);
        let delta = Delta::of(&desired);
        let recorded = self.recorded();
        let touched = step(&mut self.state, server, desired, base)?;
        if touched != ChangeScope::Nothing {
            self.write_down(delta.as_ref());
        }
        match &touched {
            ChangeScope::Nothing => {}
            ChangeScope::All => {
                self.reindex();
                self.record_was_changed(&recorded);
                self.round(now);
            }
            ChangeScope::Peers { ids, keys } => {
                self.peers_were_changed(ids, keys);
                self.change(ids, keys, now);
            }
        }
        self.publish_drift();
        let outcome = match self.verdict.is_clean() {
            true => "applied",
            false => "applied, but with failures",
        };
        for request_id in causes {
            tracing::info!(%request_id, "revision {revision} is {outcome}");
        }
        Ok(touched)
    }

    pub(super) fn reindex(&mut self) {
        if let Some(state) = &self.state {
            self.index = Index::new(&state.interface, state.peers.values());
            self.opened.keep(|id| state.peers.contains_key(id));
        }
    }

    /// Writes the change to the cache. A failing disk does not prevent the change from being applied: a removed
    /// peer must lose its access.
    pub(super) fn write_down(&mut self, delta: Option<&Delta>) {
        let Some(state) = &self.state else { return };
        let written = self.cache.write(state, delta);
        self.metrics.cached(written.is_ok());
        if let Err(error) = written {
            tracing::error!("the state cannot be cached and would be missing after a boot without a plane: {error}");
        }
    }

    /// Returns whether the cache is older than the state because a write failed.
    pub const fn cache_is_behind(&self) -> bool {
        self.cache.is_behind()
    }

    /// Writes the whole state to the cache again.
    pub fn save(&mut self) {
        self.write_down(None);
    }

    /// Writes the counters. Returns whether the write succeeded.
    pub fn save_counters(&mut self) -> bool {
        let saved = self.counters.save(&self.folder, uptime());
        if let Err(error) = &saved {
            tracing::error!("{}: the counters cannot be saved: {error}", self.folder.display());
        }
        saved.is_ok()
    }
}

/// Returns the counters stored in `folder`. `is_known` is true if this host has been set up before.
fn counters(folder: &Path, is_known: bool) -> Counters {
    let lost = |why: String| {
        tracing::error!(
            "{}: counters.json {why}: counting starts again, from the kernel's current values",
            folder.display()
        );
        Counters::resumed()
    };
    match Counters::load(folder, uptime()) {
        Ok(Some(counters)) => counters,
        Ok(None) if is_known => lost("is missing".to_owned()),
        Ok(None) => Counters::default(),
        Err(error) => lost(format!("cannot be read ({error})")),
    }
}
