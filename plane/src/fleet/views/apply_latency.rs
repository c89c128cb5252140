//! The apply latency: the time from the commit of a change to the agent's confirmation.
//!
//! Owns the measurement, which is kept in memory only. It must not read the store: metrics that are
//! read from the store are in `metrics`.

use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use wgctl::ServerId;

use crate::fleet::Fleet;

/// The histogram of apply latencies.
pub(crate) struct ApplyLatency {
    applied: Histogram,
}

impl Default for ApplyLatency {
    fn default() -> Self {
        Self {
            applied: Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0]),
        }
    }
}

impl Fleet {
    /// Registers the metrics of the fleet and its store.
    pub(crate) fn register(&self, registry: &mut Registry) {
        self.store().register(registry);
        registry.register(
            "sentrazone_apply_latency_seconds",
            "Time from the commit of a change to the agent's confirmation that the kernel has applied it, for servers whose agent was connected",
            self.shared.apply_latency.applied.clone(),
        );
    }

    /// Records the latency of each change that is covered by the confirmation of this revision.
    pub(crate) fn was_applied(&self, server: &ServerId, revision: u64) {
        for latency in self.shared.relay.waiters(server).confirm(revision) {
            self.shared.apply_latency.applied.observe(latency.as_secs_f64());
        }
    }
}
