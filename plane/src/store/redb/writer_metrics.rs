//! What the writer measures: its commits, how long they take, how many share one.
//!
//! Owns the numbers and their names. It must not decide anything.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use wgctl::program::metrics::seconds;

/// How a commit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum CommitKind {
    /// On disk.
    Durable,
    /// To be on disk within seconds.
    Lazy,
    /// Not at all.
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

/// The numbers. Cloning shares them.
#[derive(Debug, Clone)]
pub(crate) struct WriterMetrics(Arc<Numbers>);

#[derive(Debug)]
struct Numbers {
    commits: Family<Labels, Counter>,
    took: Histogram,
    jobs: Histogram,
}

impl Default for WriterMetrics {
    fn default() -> Self {
        let commits = Family::default();
        for ended in CommitKind::ALL {
            drop(commits.get_or_create(&ended.labels()));
        }
        Self(Arc::new(Numbers {
            commits,
            took: seconds(),
            jobs: Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]),
        }))
    }
}

impl WriterMetrics {
    /// A transaction of so many jobs ended.
    pub(super) fn committed(&self, ended: CommitKind, jobs: usize, took: Duration) {
        self.0.commits.get_or_create(&ended.labels()).inc();
        self.0.took.observe(took.as_secs_f64());
        self.0.jobs.observe(f64::from(u32::try_from(jobs).unwrap_or(u32::MAX)));
    }

    /// Shows them.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let Numbers { commits, took, jobs } = &*self.0;
        registry.register(
            "sentrazone_store_commits",
            "Transactions by how they ended: on disk, to be there within seconds (metrics only), or failed",
            commits.clone(),
        );
        registry.register(
            "sentrazone_store_commit_duration_seconds",
            "How long a transaction took, from its first job to the disk",
            took.clone(),
        );
        registry.register(
            "sentrazone_store_commit_jobs",
            "How many changes and recordings shared one transaction",
            jobs.clone(),
        );
    }
}
