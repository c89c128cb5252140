//! The metrics of the writer: its commits, their duration, and the number of jobs in each.
//!
//! Owns the metrics and their names. It must not make any decisions.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use wgctl::program::metrics::seconds;

/// The outcome of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum CommitKind {
    /// The commit is on disk.
    Durable,
    /// The commit will be on disk within seconds.
    Lazy,
    /// The commit failed.
    Failed,
}

impl CommitKind {
    const ALL: [Self; 3] = [Self::Durable, Self::Lazy, Self::Failed];

    const fn labels(self) -> Labels {
        let outcome = match self {
            Self::Durable => "durable",
            Self::Lazy => "lazy",
            Self::Failed => "failed",
        };
        Labels { outcome }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    outcome: &'static str,
}

/// A shared handle to the metrics.
#[derive(Debug, Clone)]
pub(in crate::store) struct WriterMetrics(Arc<Families>);

#[derive(Debug)]
struct Families {
    commits: Family<Labels, Counter>,
    duration: Histogram,
    jobs: Histogram,
}

impl Default for WriterMetrics {
    fn default() -> Self {
        let commits = Family::default();
        for kind in CommitKind::ALL {
            drop(commits.get_or_create(&kind.labels()));
        }
        Self(Arc::new(Families {
            commits,
            duration: seconds(),
            jobs: Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]),
        }))
    }
}

impl WriterMetrics {
    /// Counts a transaction with this number of jobs and this duration.
    pub(super) fn observe(&self, kind: CommitKind, jobs: usize, duration: Duration) {
        self.0.commits.get_or_create(&kind.labels()).inc();
        self.0.duration.observe(duration.as_secs_f64());
        self.0.jobs.observe(f64::from(u32::try_from(jobs).unwrap_or(u32::MAX)));
    }

    /// Registers the metrics.
    pub(in crate::store) fn register(&self, registry: &mut Registry) {
        let Families {
            commits,
            duration,
            jobs,
        } = &*self.0;
        registry.register(
            "sentrazone_store_commits",
            "Transactions by outcome: on disk, on disk within seconds (metrics only), or failed",
            commits.clone(),
        );
        registry.register(
            "sentrazone_store_commit_duration_seconds",
            "Duration of a transaction, from its start to the end of its commit",
            duration.clone(),
        );
        registry.register(
            "sentrazone_store_commit_jobs",
            "Number of changes and reports that shared one transaction",
            jobs.clone(),
        );
    }
}
