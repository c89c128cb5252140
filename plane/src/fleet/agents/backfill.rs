//! Backfill of history with samples that an agent took while its reports could not be delivered.
//!
//! Owns the times and values of such samples, and the hours that a report writes to. A late sample only
//! fills a minute that has no sample yet. It must not change the server's status, which comes from the
//! report itself.

use crate::store::{LossyWrite, Read};
use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};

use wgctl::api::Counters;
use wgctl::{ServerId, Timestamp};

use crate::fleet::Refusal;
use crate::history::{self, Measure, Sample};

/// Converts the samples in a batch to measures that use the plane's times and totals. `present` is the
/// measure of the report that contains the batch, and `sent_at` is the time of the report according to
/// the agent's clock. Only differences between times on the agent's clock are used. Samples that are
/// later than `sent_at`, or older than the retention period, are skipped.
pub(super) fn measures(
    batch: &Counters,
    present: &Measure,
    sent_at: Timestamp,
    now: Timestamp,
) -> Vec<(Timestamp, Measure)> {
    let Some(total) = batch.total else { return Vec::new() };
    let mut measures = Vec::new();
    for sample in &batch.samples {
        let age = sent_at.since(sample.at);
        if sample.at > sent_at || age > history::RETENTION {
            continue;
        }
        let measure = Measure {
            ping_ms: sample.ping_ms,
            transfer_rx: present.transfer_rx.saturating_sub(total.rx.saturating_sub(sample.rx)),
            transfer_tx: present.transfer_tx.saturating_sub(total.tx.saturating_sub(sample.tx)),
        };
        measures.push((now.before(age), measure));
    }
    measures
}

/// The hours of a server's history that one report writes to. Each hour is read and packed only once.
pub(super) struct Hours<'a> {
    server: &'a ServerId,
    open: BTreeMap<u64, Vec<Sample>>,
    /// The minutes that this report has filled, each with its hour. They had no sample before.
    filled: BTreeSet<(u64, u8)>,
}

impl<'a> Hours<'a> {
    pub(super) const fn new(server: &'a ServerId) -> Self {
        Self {
            server,
            open: BTreeMap::new(),
            filled: BTreeSet::new(),
        }
    }

    /// Adds the current measure to its minute.
    pub(super) fn fold(&mut self, tx: &dyn Read, at: Timestamp, measure: &Measure) -> Result<(), Refusal> {
        let (hour, minute) = history::place(at);
        history::fold(self.open(tx, hour)?, minute, measure);
        Ok(())
    }

    /// Adds a late measure to its minute, unless the minute already had a sample before this report.
    pub(super) fn fill(&mut self, tx: &dyn Read, at: Timestamp, measure: &Measure) -> Result<(), Refusal> {
        let (hour, minute) = history::place(at);
        let taken = self.open(tx, hour)?.iter().any(|sample| sample.minute == minute);
        if taken && !self.filled.contains(&(hour, minute)) {
            return Ok(());
        }
        self.filled.insert((hour, minute));
        history::fold(self.open(tx, hour)?, minute, measure);
        Ok(())
    }

    fn open(&mut self, tx: &dyn Read, hour: u64) -> Result<&mut Vec<Sample>, Refusal> {
        match self.open.entry(hour) {
            Entry::Occupied(open) => Ok(open.into_mut()),
            Entry::Vacant(vacant) => {
                let packed = tx.hour(hour, self.server)?.unwrap_or_default();
                Ok(vacant.insert(unpacked(self.server, hour, &packed)))
            }
        }
    }

    /// Writes the hours to the store.
    pub(super) fn write(self, tx: &dyn LossyWrite) -> Result<(), Refusal> {
        for (hour, samples) in self.open {
            tx.put_hour(hour, self.server, &history::pack(&samples))?;
        }
        Ok(())
    }
}

fn unpacked(server: &ServerId, hour: u64, packed: &[u8]) -> Vec<Sample> {
    if packed.is_empty() {
        return Vec::new();
    }
    history::unpack(packed).unwrap_or_else(|error| {
        tracing::error!(%server, hour, "an hour of history is lost: {error}");
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use wgctl::api::{PastSample, Transfer};
    use wgctl::name::Incarnation;

    use super::*;

    const PRESENT: Measure = Measure {
        ping_ms: None,
        transfer_rx: 10_000,
        transfer_tx: 5_000,
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(1_800_000_000 + seconds)
    }

    fn batch(samples: &[(i64, u64)]) -> Counters {
        let sample = |&(seconds, rx)| PastSample {
            at: at(seconds),
            ping_ms: None,
            rx,
            tx: rx,
        };
        Counters {
            incarnation: Incarnation::random(),
            sequence: 1,
            peers: BTreeMap::new(),
            total: Some(Transfer { rx: 400, tx: 300 }),
            samples: samples.iter().map(sample).collect(),
        }
    }

    #[test]
    fn only_differences_in_the_agents_clock_and_totals_count() {
        // The agent's clock is a day ahead of the plane's.
        let sent_at = at(86_400);
        let measures = measures(
            &batch(&[(86_400 - 120, 100), (86_400 - 60, 250)]),
            &PRESENT,
            sent_at,
            at(0),
        );
        let shown: Vec<_> = measures
            .iter()
            .map(|(at, measure)| (*at, measure.transfer_rx, measure.transfer_tx))
            .collect();
        assert_eq!(shown, [(at(-120), 9_700, 4_800), (at(-60), 9_850, 4_950)]);
    }

    #[test]
    fn samples_that_are_in_the_future_or_too_old_are_skipped() {
        let odd = batch(&[(1, 1), (-72 * 3600 - 1, 1), (-72 * 3600, 1)]);
        let kept = measures(&odd, &PRESENT, at(0), at(0));
        assert_eq!(kept.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [at(-72 * 3600)]);
    }

    #[test]
    fn impossible_totals_do_not_overflow() {
        let mut odd = batch(&[(0, u64::MAX), (0, 0)]);
        odd.total = Some(Transfer { rx: u64::MAX, tx: 0 });
        let values = measures(&odd, &PRESENT, at(0), at(0));
        let rx: Vec<_> = values.iter().map(|(_, measure)| measure.transfer_rx).collect();
        assert_eq!(rx, [10_000, 0]);
        odd.total = None;
        assert!(measures(&odd, &PRESENT, at(0), at(0)).is_empty());
    }
}
