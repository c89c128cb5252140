//! The aggregation of minute samples into points of a longer step.
//!
//! Owns the aggregation. Hours are added in chronological order, points are returned in the same order, and only
//! unfinished steps are held in memory.

use std::collections::BTreeMap;

use wgctl::api::HistoryPoint;
use wgctl::{ServerId, Timestamp};

use super::{HOUR, Sample};

#[derive(Default)]
struct Sum {
    pings: u64,
    ping_sum: u64,
    transfer_rx: u64,
    transfer_tx: u64,
}

/// The sums of the unfinished steps.
pub struct Steps {
    since: u64,
    until: u64,
    step: u64,
    open: BTreeMap<(u64, ServerId), Sum>,
}

impl Steps {
    /// Creates an aggregation into points of `step` seconds (at least 60), from the minutes that lie partly or wholly
    /// between `since` and `until`. Steps begin at multiples of their length.
    #[must_use]
    pub fn new(since: Timestamp, until: Timestamp, step: u32) -> Self {
        let seconds = |at: Timestamp| u64::try_from(at.unix()).unwrap_or(0);
        Self {
            since: seconds(since),
            until: seconds(until),
            step: u64::from(step.max(60)),
            open: BTreeMap::new(),
        }
    }

    /// Adds a server's samples for one hour. Hours must be added in chronological order.
    pub fn add(&mut self, hour: u64, server: &ServerId, samples: &[Sample]) {
        for sample in samples {
            let at = hour.saturating_mul(HOUR) + u64::from(sample.minute) * 60;
            // A minute counts if any part of it lies between `since` and `until`.
            if at + 60 <= self.since || at >= self.until {
                continue;
            }
            let sum = self.open.entry((at - at % self.step, server.clone())).or_default();
            sum.pings += u64::from(sample.pings);
            sum.ping_sum = sum.ping_sum.saturating_add(sample.ping_sum);
            sum.transfer_rx = sample.transfer_rx;
            sum.transfer_tx = sample.transfer_tx;
        }
    }

    /// Removes and returns the points of the steps that are complete when `hour` begins, ordered by time, then by
    /// server. No sample from before `hour` may be added afterwards.
    pub fn before(&mut self, hour: u64) -> Vec<HistoryPoint> {
        let end = hour.saturating_mul(HOUR);
        let mut points = Vec::new();
        while let Some(entry) = self.open.first_entry() {
            if entry.key().0.saturating_add(self.step) > end {
                break;
            }
            let ((begin, server), sum) = entry.remove_entry();
            points.push(point(begin, server, &sum));
        }
        points
    }

    /// Removes and returns the remaining points.
    pub fn finish(&mut self) -> Vec<HistoryPoint> {
        let open = std::mem::take(&mut self.open);
        open.into_iter()
            .map(|((begin, server), sum)| point(begin, server, &sum))
            .collect()
    }
}

fn point(begin: u64, server_id: ServerId, sum: &Sum) -> HistoryPoint {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a mean stay far below 2^53")]
    let mean = |sum: &Sum| (sum.ping_sum as f64 / sum.pings as f64).round() / 1000.0;
    HistoryPoint {
        server_id,
        ping_ms: (sum.pings > 0).then(|| mean(sum)),
        transfer_rx: sum.transfer_rx,
        transfer_tx: sum.transfer_tx,
        recorded_at: Timestamp::from_unix(i64::try_from(begin).unwrap_or(i64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(value: u64) -> Vec<Sample> {
        (0..60)
            .map(|minute| Sample {
                minute,
                pings: u32::from(minute % 2),
                ping_sum: u64::from(minute % 2) * 10_000,
                transfer_rx: value + u64::from(minute),
                transfer_tx: value,
            })
            .collect()
    }

    fn points(steps: &mut Steps, hours: std::ops::Range<u64>) -> Vec<HistoryPoint> {
        let servers: Vec<ServerId> = vec!["a".parse().unwrap(), "b".parse().unwrap()];
        let mut points = Vec::new();
        for h in hours {
            for server in &servers {
                steps.add(h, server, &hour(h * 1000));
            }
            points.extend(steps.before(h + 1));
        }
        points.extend(steps.finish());
        points
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix(i64::try_from(seconds).unwrap())
    }

    #[test]
    fn points_are_ordered_by_time_then_server_and_have_mean_pings_and_last_totals() {
        let mut steps = Steps::new(at(10 * HOUR), at(12 * HOUR), 300);
        let points = points(&mut steps, 10..12);
        assert_eq!(points.len(), 2 * 2 * 12);
        assert!(points.is_sorted_by_key(|p| (p.recorded_at, p.server_id.clone())));
        assert_eq!(points[0].ping_ms, Some(10.0));
        assert_eq!(points[0].transfer_rx, 10_004);
        assert_eq!(points[0].recorded_at, at(10 * HOUR));
    }

    #[test]
    fn steps_that_span_hours_are_complete() {
        let mut steps = Steps::new(at(0), at(20 * HOUR), 7 * 60);
        let points = points(&mut steps, 0..20);
        // 1,200 minutes make 171 steps of seven minutes and one shorter step, for each of two servers.
        assert_eq!(points.len(), 172 * 2);
        assert!(points.is_sorted_by_key(|p| p.recorded_at));
    }

    #[test]
    fn minutes_outside_the_range_are_left_out() {
        let mut steps = Steps::new(at(10 * HOUR + 120), at(10 * HOUR + 240), 60);
        let points = points(&mut steps, 9..12);
        let times: Vec<_> = points.iter().map(|p| p.recorded_at).collect();
        let (one, two) = (at(10 * HOUR + 120), at(10 * HOUR + 180));
        assert_eq!(times, [one, one, two, two]);
        assert_eq!(points[0].ping_ms, None);
    }
}
