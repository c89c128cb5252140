//! Numbers in the form that Prometheus expects.
//!
//! Owns the two kinds of numbers, counters and gauges.

use std::fmt;

use prometheus_client::encoding::{EncodeMetric as _, MetricEncoder};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Converts a number to the type that Prometheus uses; exact up to 2^53.
#[must_use]
pub const fn number(number: u64) -> f64 {
    number as f64
}

/// The kinds of number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A number that only grows; its name gets the suffix `_total`.
    Counter,
    /// A number that can grow and shrink.
    Gauge,
}

impl Kind {
    /// Returns the library's type for this kind.
    #[must_use]
    pub const fn metric_type(self) -> prometheus_client::metrics::MetricType {
        match self {
            Self::Counter => prometheus_client::metrics::MetricType::Counter,
            Self::Gauge => prometheus_client::metrics::MetricType::Gauge,
        }
    }

    /// Writes one number of this kind.
    pub fn write(self, encoder: MetricEncoder<'_>, value: f64) -> fmt::Result {
        match self {
            Self::Counter => ConstCounter::new(value).encode(encoder),
            Self::Gauge => ConstGauge::new(value).encode(encoder),
        }
    }
}
