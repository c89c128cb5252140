//! History: one-minute samples, packed by the hour, and their aggregation over longer steps.
//!
//! Owns the packed format, the folding of reports into minutes, and the aggregation. It is pure and must not store
//! anything: that belongs to the store. Bytes that are not a packed hour cause an error, never a panic.

mod codec;
mod steps;

use std::time::Duration;

use wgctl::Timestamp;

pub use codec::{CodecError, pack, unpack};
pub use steps::Steps;

/// The time for which history is kept.
pub const RETENTION: Duration = Duration::from_secs(72 * 3600);

/// The number of seconds that are packed together: one hour.
pub const HOUR: u64 = 3600;

/// The combined reports from one minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sample {
    /// The minute within the hour, 0 to 59.
    pub minute: u8,
    /// The number of reported round trips.
    pub pings: u32,
    /// The sum of the round-trip times, in microseconds.
    pub ping_sum: u64,
    /// The most recent total of received bytes.
    pub transfer_rx: u64,
    /// The most recent total of sent bytes.
    pub transfer_tx: u64,
}

/// The measurements in one report.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measure {
    /// The round-trip time in milliseconds; `None` if it was not measured.
    pub ping_ms: Option<f64>,
    /// The total of received bytes.
    pub transfer_rx: u64,
    /// The total of sent bytes.
    pub transfer_tx: u64,
}

/// Returns the hour that contains `at`, counted from the Unix epoch, and the minute within that hour.
#[must_use]
pub fn place(at: Timestamp) -> (u64, u8) {
    let seconds = u64::try_from(at.unix()).unwrap_or(0);
    (seconds / HOUR, u8::try_from(seconds % HOUR / 60).unwrap_or(0))
}

/// Folds a report into its minute. `samples` are the samples of one hour, ordered by minute.
pub fn fold(samples: &mut Vec<Sample>, minute: u8, measure: &Measure) {
    let at = match samples.binary_search_by_key(&minute, |sample| sample.minute) {
        Ok(at) => at,
        Err(at) => {
            let fresh = Sample {
                minute,
                ..Sample::default()
            };
            samples.insert(at, fresh);
            at
        }
    };
    let Some(sample) = samples.get_mut(at) else { return };
    if let Some(micros) = measure.ping_ms.and_then(micros) {
        sample.pings = sample.pings.saturating_add(1);
        sample.ping_sum = sample.ping_sum.saturating_add(micros);
    }
    sample.transfer_rx = measure.transfer_rx;
    sample.transfer_tx = measure.transfer_tx;
}

/// Converts a round-trip time to whole microseconds. Returns `None` if the time is impossible: negative, not finite, or
/// longer than ten minutes.
fn micros(ping_ms: f64) -> Option<u64> {
    let possible = ping_ms.is_finite() && (0.0..=600_000.0).contains(&ping_ms);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounded just above"
    )]
    possible.then(|| (ping_ms * 1000.0).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(ping_ms: Option<f64>, transfer_rx: u64) -> Measure {
        Measure {
            ping_ms,
            transfer_rx,
            transfer_tx: transfer_rx / 2,
        }
    }

    #[test]
    fn reports_from_one_minute_become_one_sample() {
        let mut samples = Vec::new();
        fold(&mut samples, 7, &measure(Some(10.0), 100));
        fold(&mut samples, 7, &measure(None, 200));
        fold(&mut samples, 7, &measure(Some(20.5), 300));
        fold(&mut samples, 3, &measure(None, 50));
        let minutes: Vec<_> = samples
            .iter()
            .map(|s| (s.minute, s.pings, s.ping_sum, s.transfer_rx))
            .collect();
        assert_eq!(minutes, [(3, 0, 0, 50), (7, 2, 30_500, 300)]);
    }

    #[test]
    fn impossible_round_trips_are_not_counted() {
        let mut samples = Vec::new();
        for ping in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
            fold(&mut samples, 0, &measure(Some(ping), 1));
        }
        assert_eq!(samples.len(), 1);
        assert_eq!(samples[0].pings, 0);
    }

    #[test]
    fn a_time_maps_to_its_hour_and_minute() {
        let at = Timestamp::from_unix(3600 * 500 + 61);
        assert_eq!(place(at), (500, 1));
        assert_eq!(place(Timestamp::from_unix(-5)), (0, 0));
    }
}
