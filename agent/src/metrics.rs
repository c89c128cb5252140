//! The metrics of the agent, for `metrics_listen`.
//!
//! Owns the numbers and their names. Labels are kinds and outcomes, never keys or peers. It must not
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
    /// The peers that a change named.
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

/// The numbers. Cloning shares them.
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
    /// Creates all series at the start: an absent series cannot be compared with later values.
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
                // Without `..`: a series that is not registered does not compile.
                let Self { page, $($field),* } = self;
                let registry = page.registry();
                $(registry.register(concat!("sentrazone_agent_", $name), $help, $field.clone());)*
            };
        }
        show! {
            rounds "reconciles" "Comparisons of what is with what should be: of the whole interface, or of changed peers";
            took "reconcile_duration_seconds" "How long a comparison took, with what was sent to the kernel";
            writes "kernel_writes" "Changes that were sent to the kernel: of peers, settings, addresses, routes, rules";
            errors "kernel_errors" "Comparisons after which something was not as it should be";
            drift_found "drift_found" "Changes of others that were seen, by kind";
            drift_repaired "drift_repaired" "Changes of others that were undone, by kind";
            drift_standing "drift_standing" "Changes of others that are left as they are";
            desired "desired_revision" "The revision that the plane told last";
            applied "applied_revision" "The revision that is in the kernel; 0 for none";
            failing "failing_peers" "Peers that are not as they should be";
            peers "peers" "Peers that should be on the interface and are";
            received "received_bytes" "Bytes that were received from peers";
            sent "sent_bytes" "Bytes that were sent to peers";
            handshake "latest_handshake_timestamp_seconds" "The latest handshake of any peer, in seconds since 1970; 0 for none";
            connected "plane_connected" "Whether a plane talks with this agent";
            dials "plane_dials" "Attempts to introduce itself to a plane, by outcome";
            backoff "plane_backoff_seconds" "Time that was waited before planes were dialled again, in seconds";
            reports "reports" "Reports to the plane, by outcome";
            cache_writes "cache_writes" "Writes of the cache that a boot without a plane needs, by outcome";
            buffered "buffered_samples" "Samples that wait for a plane";
            prekeys "prekeys_made" "Prekeys that were made for future peers";
        }
    }
}

impl Metrics {
    /// The page.
    #[must_use]
    pub fn page(&self) -> Option<String> {
        let page = self.0.page.text();
        page.inspect_err(|error| tracing::error!("the metrics cannot be written: {error}"))
            .ok()
    }

    /// A comparison ended.
    pub fn reconciled(&self, scope: ComparisonScope, took: Duration, ok: bool) {
        let scope = scope.as_str();
        self.0.rounds.get_or_create(&ScopeLabel { scope }).inc();
        self.0
            .took
            .get_or_create(&ScopeLabel { scope })
            .observe(took.as_secs_f64());
        self.0.errors.inc_by(u64::from(!ok));
    }

    /// So many changes were sent to the kernel.
    pub fn written(&self, count: usize) {
        self.0.writes.inc_by(count as u64);
    }

    /// Others changed something.
    pub fn drift_found(&self, kind: DriftKind) {
        let kind = kind.as_str();
        self.0.drift_found.get_or_create(&KindLabel { kind }).inc();
    }

    /// It was undone.
    pub fn drift_repaired(&self, kind: DriftKind) {
        let kind = kind.as_str();
        self.0.drift_repaired.get_or_create(&KindLabel { kind }).inc();
    }

    /// So many changes of others stand.
    pub fn drift_stands(&self, count: usize) {
        self.0.drift_standing.set(count as i64);
    }

    /// The desired and the applied revision, and the number of failing peers.
    pub fn revisions(&self, desired: u64, applied: u64, failing: usize) {
        self.0.desired.set(desired as i64);
        self.0.applied.set(applied as i64);
        self.0.failing.set(failing as i64);
    }

    /// The peers and the latest handshake at an inspection of the interface.
    pub fn seen(&self, peers: u64, handshake: Option<Timestamp>) {
        self.0.peers.set(peers as i64);
        self.0.handshake.set(handshake.map_or(0, Timestamp::unix));
    }

    /// All that was counted.
    pub fn counted(&self, total: Transfer, buffered: usize) {
        self.0.received.inner().store(total.rx, Ordering::Relaxed);
        self.0.sent.inner().store(total.tx, Ordering::Relaxed);
        self.0.buffered.set(buffered as i64);
    }

    /// A plane took the introduction, or did not.
    pub fn dialled(&self, ok: bool) {
        self.0.dials.get_or_create(&outcome(ok)).inc();
        self.0.connected.set(i64::from(ok));
    }

    /// The conversation with a plane ended.
    pub fn disconnected(&self) {
        self.0.connected.set(0);
    }

    /// So long it is waited before a plane is dialled.
    pub fn waits(&self, wait: Duration) {
        self.0.backoff.inc_by(wait.as_secs_f64());
    }

    /// A report got through, or did not.
    pub fn reported(&self, ok: bool) {
        self.0.reports.get_or_create(&outcome(ok)).inc();
    }

    /// The cache was written, or was not.
    pub fn cached(&self, ok: bool) {
        self.0.cache_writes.get_or_create(&outcome(ok)).inc();
    }

    /// So many prekeys were made.
    pub fn prekeys_made(&self, count: usize) {
        self.0.prekeys.inc_by(count as u64);
    }
}
