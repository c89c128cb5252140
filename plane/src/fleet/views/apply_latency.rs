//! The apply latency: the time from a change's commit to its agent's confirmation.
//!
//! Owns the measurement while the plane runs. Metrics read from the store are in `metrics`.

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
            "From a change's commit to the confirmation that the kernel has it, of changes to servers whose agent was there",
            self.shared.apply_latency.applied.clone(),
        );
    }

    /// Observes the latency of the changes that are confirmed by this revision.
    pub(crate) fn was_applied(&self, server: &ServerId, revision: u64) {
        for latency in self.shared.relay.line(server).confirm(revision) {
            self.shared.apply_latency.applied.observe(latency.as_secs_f64());
        }
    }
}
