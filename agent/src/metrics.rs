//! The metrics of the agent, served on `metrics_listen`.
//!
//! Owns the metrics and their names. Labels contain scopes, kinds and outcomes, never keys or peers. It must not
//! decide anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use wgctl::Timestamp;
use wgctl::api::Transfer;
use wgctl::drift::DriftKind;
use wgctl::program::metrics::{Page, seconds};

/// The scope of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComparisonScope {
    /// The whole interface.
    All,
    /// The peers that a change names.
    Peers,
}

impl ComparisonScope {
    const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Peers => "peers",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ScopeLabel {
    scope: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

const OK: OutcomeLabel = OutcomeLabel { outcome: "ok" };
const FAILED: OutcomeLabel = OutcomeLabel { outcome: "failed" };

const fn outcome(ok: bool) -> OutcomeLabel {
    if ok { OK } else { FAILED }
}

/// The metrics. Clones share their values.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Series>);

type Seconds = Counter<f64, AtomicU64>;

#[derive(Debug)]
struct Series {
    page: Page,
    rounds: Family<ScopeLabel, Counter>,
    took: Family<ScopeLabel, Histogram, fn() -> Histogram>,
    writes: Counter,
    errors: Counter,
    drift_found: Family<KindLabel, Counter>,
    drift_repaired: Family<KindLabel, Counter>,
    drift_standing: Gauge,
    desired: Gauge,
    applied: Gauge,
    failing: Gauge,
    peers: Gauge,
    received: Counter,
    sent: Counter,
    handshake: Gauge,
    connected: Gauge,
    dials: Family<OutcomeLabel, Counter>,
    backoff: Seconds,
    reports: Family<OutcomeLabel, Counter>,
    cache_writes: Family<OutcomeLabel, Counter>,
    buffered: Gauge,
    prekeys: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut numbers = Series {
            page: Page::new("agent", env!("CARGO_PKG_VERSION")),
            rounds: Family::default(),
            took: Family::new_with_constructor(seconds as fn() -> Histogram),
            writes: Counter::default(),
            errors: Counter::default(),
            drift_found: Family::default(),
            drift_repaired: Family::default(),
            drift_standing: Gauge::default(),
            desired: Gauge::default(),
            applied: Gauge::default(),
            failing: Gauge::default(),
            peers: Gauge::default(),
            received: Counter::default(),
            sent: Counter::default(),
            handshake: Gauge::default(),
            connected: Gauge::default(),
            dials: Family::default(),
            backoff: Seconds::default(),
            reports: Family::default(),
            cache_writes: Family::default(),
            buffered: Gauge::default(),
            prekeys: Counter::default(),
        };
        numbers.begin();
        numbers.register();
        Self(Arc::new(numbers))
    }
}

impl Series {
    /// Creates all series at startup, because Prometheus cannot compute the first increase of a series that was
    /// absent before.
    fn begin(&self) {
        for scope in [ComparisonScope::All, ComparisonScope::Peers] {
            let scope = scope.as_str();
            drop(self.rounds.get_or_create(&ScopeLabel { scope }));
            drop(self.took.get_or_create(&ScopeLabel { scope }));
        }
        for kind in DriftKind::ALL {
            let kind = kind.as_str();
            drop(self.drift_found.get_or_create(&KindLabel { kind }));
            drop(self.drift_repaired.get_or_create(&KindLabel { kind }));
        }
        for family in [&self.dials, &self.reports, &self.cache_writes] {
            drop(family.get_or_create(&OK));
            drop(family.get_or_create(&FAILED));
        }
    }

    fn register(&mut self) {
        macro_rules! show {
            ($($field:ident $name:literal $help:literal;)*) => {
                // There is no `..`, so that a series that is not registered is a compile error.
                let Self { page, $($field),* } = self;
                let registry = page.registry();
                $(registry.register(concat!("sentrazone_agent_", $name), $help, $field.clone());)*
            };
        }
        show! {
            rounds "reconciles" "Comparisons of the actual state with the desired state, by scope";
            took "reconcile_duration_seconds" "The duration of a comparison, including the changes sent to the kernel";
            writes "kernel_writes" "Changes sent to the kernel: peers, settings, addresses, routes and rules";
            errors "kernel_errors" "Comparisons after which a difference remained";
            drift_found "drift_found" "External changes that were detected, by kind";
            drift_repaired "drift_repaired" "External changes that were repaired, by kind";
            drift_standing "drift_standing" "External changes that are left in place";
            desired "desired_revision" "The revision last received from the plane";
            applied "applied_revision" "The revision that is in the kernel; 0 if none";
            failing "failing_peers" "Peers that differ from their desired state";
            peers "peers" "Desired peers that are on the interface";
            received "received_bytes" "Bytes received from peers";
            sent "sent_bytes" "Bytes sent to peers";
            handshake "latest_handshake_timestamp_seconds"
                "The time of the latest handshake with any peer, in seconds since 1970; 0 if none";
            connected "plane_connected" "1 if the agent is connected to a plane, else 0";
            dials "plane_dials" "Introductions to a plane, by outcome";
            backoff "plane_backoff_seconds" "Time spent waiting before planes were dialled again, in seconds";
            reports "reports" "Reports to the plane, by outcome";
            cache_writes "cache_writes" "Writes to the cache that is needed to boot without a plane, by outcome";
            buffered "buffered_samples" "Samples waiting to be sent to a plane";
            prekeys "prekeys_made" "Prekeys generated for future peers";
        }
    }
}

impl Metrics {
    /// Returns the metrics page, or `None` if it cannot be written.
    #[must_use]
    pub fn page(&self) -> Option<String> {
        let page = self.0.page.text();
        page.inspect_err(|error| tracing::error!("the metrics cannot be written: {error}"))
            .ok()
    }

    /// Records that a comparison ended.
    pub fn reconciled(&self, scope: ComparisonScope, took: Duration, ok: bool) {
        let scope = scope.as_str();
        self.0.rounds.get_or_create(&ScopeLabel { scope }).inc();
        self.0
            .took
            .get_or_create(&ScopeLabel { scope })
            .observe(took.as_secs_f64());
        self.0.errors.inc_by(u64::from(!ok));
    }

    /// Records the number of changes that were sent to the kernel.
    pub fn written(&self, count: usize) {
        self.0.writes.inc_by(count as u64);
    }

    /// Records a detected external change.
    pub fn drift_found(&self, kind: DriftKind) {
        let kind = kind.as_str();
        self.0.drift_found.get_or_create(&KindLabel { kind }).inc();
    }

    /// Records that an external change was repaired.
    pub fn drift_repaired(&self, kind: DriftKind) {
        let kind = kind.as_str();
        self.0.drift_repaired.get_or_create(&KindLabel { kind }).inc();
    }

    /// Records the number of external changes that are left in place.
    pub fn drift_stands(&self, count: usize) {
        self.0.drift_standing.set(count as i64);
    }

    /// Records the desired and applied revisions, and the number of failing peers.
    pub fn revisions(&self, desired: u64, applied: u64, failing: usize) {
        self.0.desired.set(desired as i64);
        self.0.applied.set(applied as i64);
        self.0.failing.set(failing as i64);
    }

    /// Records the number of peers and the latest handshake from an inspection of the interface.
    pub fn seen(&self, peers: u64, handshake: Option<Timestamp>) {
        self.0.peers.set(peers as i64);
        self.0.handshake.set(handshake.map_or(0, Timestamp::unix));
    }

    /// Records the total transfers and the number of buffered samples.
    pub fn counted(&self, total: Transfer, buffered: usize) {
        self.0.received.inner().store(total.rx, Ordering::Relaxed);
        self.0.sent.inner().store(total.tx, Ordering::Relaxed);
        self.0.buffered.set(buffered as i64);
    }

    /// Records whether a plane accepted the introduction.
    pub fn dialled(&self, ok: bool) {
        self.0.dials.get_or_create(&outcome(ok)).inc();
        self.0.connected.set(i64::from(ok));
    }

    /// Records that the conversation with a plane ended.
    pub fn disconnected(&self) {
        self.0.connected.set(0);
    }

    /// Records the wait before a plane is dialled again.
    pub fn waits(&self, wait: Duration) {
        self.0.backoff.inc_by(wait.as_secs_f64());
    }

    /// Records whether a report was delivered.
    pub fn reported(&self, ok: bool) {
        self.0.reports.get_or_create(&outcome(ok)).inc();
    }

    /// Records whether the cache was written.
    pub fn cached(&self, ok: bool) {
        self.0.cache_writes.get_or_create(&outcome(ok)).inc();
    }

    /// Records the number of generated prekeys.
    pub fn prekeys_made(&self, count: usize) {
        self.0.prekeys.inc_by(count as u64);
    }
}
