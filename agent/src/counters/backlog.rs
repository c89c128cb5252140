//! Samples from the time during which no report reached a plane.
//!
//! Owns the rate at which samples are kept, and the limit on their number. It must not perform I/O; time is a
//! parameter.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wgctl::Timestamp;
use wgctl::api::{PastSample, SAMPLES_AT_ONCE};

/// The maximum gap between two times known to the plane: one minute, less the possible delay of a tick. Each
/// minute on the plane's clock therefore has a sample, whatever the offset between the two clocks.
const MAX_GAP: Duration = Duration::from_secs(55);
/// The age up to which samples are kept, which equals the time for which the plane keeps history.
const MAX_AGE: Duration = Duration::from_secs(72 * 3600);
/// The maximum number of samples, however the clock jumps: [`MAX_AGE`] filled with samples 28 s apart, the minimum
/// spacing.
const MAX_SAMPLES: usize = 72 * 3600 / 28;

/// Samples, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<Row>", into = "Vec<Row>")]
pub(super) struct Backlog {
    samples: VecDeque<PastSample>,
    /// The latest time that the plane knows or will learn from a sample.
    last: Option<Timestamp>,
}

/// A sample in its compact stored form: thousands of samples are written each minute.
type Row = (i64, u64, u64, Option<f64>);

impl From<Vec<Row>> for Backlog {
    fn from(rows: Vec<Row>) -> Self {
        let sample = |(at, rx, tx, ping_ms)| PastSample {
            at: Timestamp::from_unix(at),
            ping_ms,
            rx,
            tx,
        };
        let samples: VecDeque<_> = rows.into_iter().map(sample).collect();
        let last = samples.back().map(|sample| sample.at);
        Self { samples, last }
    }
}

impl From<Backlog> for Vec<Row> {
    fn from(past: Backlog) -> Self {
        let row = |PastSample { at, ping_ms, rx, tx }: PastSample| (at.unix(), rx, tx, ping_ms);
        past.samples.into_iter().map(row).collect()
    }
}

impl Backlog {
    /// Records that a report was delivered, so that the plane knows this time.
    pub(super) const fn reported(&mut self, at: Timestamp) {
        self.last = Some(at);
    }

    /// Records that no report was delivered. Keeps the sample if the next one, which is due after `next`, would come
    /// too late. Returns whether the sample was kept.
    pub(super) fn missed(&mut self, sample: PastSample, next: Duration) -> bool {
        // If the clock has been set back, start again.
        let known = self.last.filter(|last| *last <= sample.at);
        if known.is_some_and(|last| sample.at.since(last) + next <= MAX_GAP) {
            return false;
        }
        self.last = Some(sample.at);
        self.samples.push_back(sample);
        let oldest = sample.at.before(MAX_AGE);
        while self.samples.len() > MAX_SAMPLES || self.samples.front().is_some_and(|first| first.at < oldest) {
            self.samples.pop_front();
        }
        true
    }

    pub(super) fn len(&self) -> usize {
        self.samples.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Removes the oldest samples, as many as fit into one batch, and returns them.
    pub(super) fn take(&mut self) -> Vec<PastSample> {
        let count = self.samples.len().min(SAMPLES_AT_ONCE);
        self.samples.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: i64) -> PastSample {
        PastSample {
            at: Timestamp::from_unix(1_800_000_000 + seconds),
            ping_ms: Some(1.5),
            rx: u64::try_from(seconds.max(0)).unwrap() * 1_000_000,
            tx: 7,
        }
    }

    fn times(past: &Backlog) -> Vec<i64> {
        past.samples.iter().map(|s| s.at.unix() - 1_800_000_000).collect()
    }

    #[test]
    fn samples_are_less_than_a_minute_apart_whatever_the_report_interval() {
        for every in [1, 5, 10, 15, 20, 27, 28, 30, 45, 55] {
            let mut past = Backlog::default();
            past.reported(sample(0).at);
            for tick in 1..=3600 / every {
                past.missed(sample(tick * every), Duration::from_secs(every.try_into().unwrap()));
            }
            let kept = [vec![0], times(&past)].concat();
            let gaps: Vec<i64> = kept.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!(
                gaps.iter().all(|gap| (28..=55).contains(gap)),
                "every {every}: {gaps:?}"
            );
            assert!(3600 - kept.last().unwrap() <= 55);
        }
    }

    #[test]
    fn samples_are_kept_for_72_hours_and_no_longer() {
        let mut past = Backlog::default();
        for tick in 0..100 * 240 {
            past.missed(sample(tick * 15), Duration::from_secs(15));
        }
        let kept = times(&past);
        let (first, last) = (kept[0], kept[kept.len() - 1]);
        assert!((72 * 3600 - 45..=72 * 3600).contains(&(last - first)), "{first} {last}");
        assert_eq!(kept.len(), 72 * 80 + 1);
    }

    #[test]
    fn a_jumping_clock_does_not_cause_more_than_the_maximum_number_of_samples() {
        let mut past = Backlog::default();
        for tick in 0..50_000 {
            let jump = if tick % 2 == 0 { 0 } else { 100 };
            past.missed(sample(jump), Duration::from_secs(15));
        }
        assert!(past.samples.len() <= MAX_SAMPLES);
        past.missed(sample(10 * 365 * 86_400), Duration::from_secs(15));
        assert_eq!(
            past.samples.len(),
            1,
            "samples that are ten years old by the new clock are gone"
        );
        assert!(
            past.missed(sample(0), Duration::from_secs(15)),
            "the clock is set back again"
        );
    }

    #[test]
    fn a_stored_backlog_is_read_back_unchanged() {
        let mut past = Backlog::default();
        for minute in 0..5 {
            past.missed(sample(minute * 60), Duration::from_secs(15));
        }
        let text = serde_json::to_string(&past).unwrap();
        assert_eq!(serde_json::from_str::<Backlog>(&text).unwrap(), past);
    }
}
