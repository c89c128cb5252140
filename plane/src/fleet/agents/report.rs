//! Reports from agents: measurements that update the status, the totals and the history.
//!
//! Owns the counting. Each batch of increments is counted once, even if it is sent several times.

use crate::store::LossyWrite;
use std::collections::{BTreeMap, BTreeSet};

use wgctl::api::{Counters, PeerCounters, Report, SAMPLES_AT_ONCE};
use wgctl::{PeerId, ServerId, Timestamp};

use super::backfill::{self, Hours};
use crate::fleet::servers::existing::existing;
use crate::fleet::{Caller, Fleet, Refusal};
use crate::history::Measure;
use crate::model::records::Measurement;
use crate::store::Durability;

impl Fleet {
    /// Records the metrics reported by an agent or by another holder of its token. The caller must
    /// check that `report.server_id` is `server`.
    pub async fn report(&self, caller: &Caller, server: &ServerId, report: Report) -> Result<(), Refusal> {
        if let Some(batch) = report.counters.as_ref().filter(|b| b.samples.len() > SAMPLES_AT_ONCE) {
            let detail = format!(
                "{} samples: send at most {SAMPLES_AT_ONCE} at a time",
                batch.samples.len()
            );
            return Err(Refusal::field_value("counters.samples", detail));
        }
        // The agent drops samples once they are acknowledged, so the samples from an outage are written
        // durably.
        let is_late = report.counters.as_ref().is_some_and(|batch| !batch.samples.is_empty());
        let durability = if is_late { Durability::Durable } else { Durability::Lazy };
        let known = match &report.counters {
            Some(batch) if self.names_more_than_there_are(server, batch.peers.len())? => Some(
                self.existing_peers(server, batch.peers.keys().copied().collect())
                    .await?,
            ),
            _ => None,
        };
        let (id, now) = (server.clone(), self.now());
        let record = move |tx: &dyn LossyWrite| record(tx, &id, report, known.as_ref(), now);
        self.record_of_agent(caller, server, durability, record).await
    }

    fn names_more_than_there_are(&self, server: &ServerId, named: usize) -> Result<bool, Refusal> {
        let (_, ledger) = self.store().read(|tx| existing(tx, server))?;
        Ok(u64::try_from(named).is_ok_and(|named| named > ledger.peers))
    }
}

/// Records a report. `known` is the set of named peers that exist, if that has already been looked up.
fn record(
    tx: &dyn LossyWrite,
    id: &ServerId,
    report: Report,
    known: Option<&BTreeSet<PeerId>>,
    now: Timestamp,
) -> Result<(), Refusal> {
    let Report {
        server_id: _,
        ping_ms,
        peers,
        transfer_rx,
        transfer_tx,
        counters,
        report_interval,
        sent_at,
    } = report;
    existing(tx, id)?;
    let mut state = tx.measurement(id)?;
    let fresh = counters.as_ref().filter(|batch| !is_counted(&state, batch));
    let grown = match fresh {
        Some(batch) => count(tx, id, &mut state, batch, known)?,
        None => BTreeMap::new(),
    };
    // An agent that sends batches omits the counters if there is nothing new to count. The totals then
    // stay the same.
    if counters.is_none() && sent_at.is_none() && state.counted.is_none() {
        state.transfer_rx = transfer_rx;
        state.transfer_tx = transfer_tx;
    }
    let possible = |ping: &f64| ping.is_finite() && *ping >= 0.0;
    state.ping_ms = ping_ms.filter(possible);
    state.peers = peers;
    state.report_interval = report_interval.map(|seconds| seconds.clamp(1, 3600));
    state.reported_at = Some(now);
    let mut hours = Hours::new(id);
    let measure = Measure {
        ping_ms: state.ping_ms,
        transfer_rx: state.transfer_rx,
        transfer_tx: state.transfer_tx,
    };
    hours.fold(tx, now, &measure)?;
    if let Some((batch, sent_at)) = fresh.zip(sent_at) {
        for (at, measure) in backfill::measures(batch, &measure, sent_at, now) {
            hours.fill(tx, at, &measure)?;
        }
    }

    tx.put_counters(id, &grown)?;
    tx.put_measurement(id, &state)?;
    hours.write(tx)
}

/// Returns whether this batch has already been counted.
fn is_counted(state: &Measurement, batch: &Counters) -> bool {
    state
        .counted
        .is_some_and(|(incarnation, last)| incarnation == batch.incarnation && batch.sequence <= last)
}

/// Adds a batch to the server's totals. Returns the new totals of its peers.
fn count(
    tx: &dyn LossyWrite,
    id: &ServerId,
    state: &mut Measurement,
    batch: &Counters,
    known: Option<&BTreeSet<PeerId>>,
) -> Result<BTreeMap<PeerId, PeerCounters>, Refusal> {
    let mut grown = BTreeMap::new();
    for (peer, increment) in &batch.peers {
        // The bytes of a peer that has been removed in the meantime still count for the server.
        state.transfer_rx = state.transfer_rx.saturating_add(increment.rx);
        state.transfer_tx = state.transfer_tx.saturating_add(increment.tx);
        let may_be_there = known.is_none_or(|known| known.contains(peer));
        if may_be_there && tx.peer(id, peer)?.is_some() {
            let before = tx.counters(id, peer)?;
            grown.insert(*peer, sum(&before, increment));
        }
    }
    state.counted = Some((batch.incarnation, batch.sequence));
    Ok(grown)
}

fn sum(before: &PeerCounters, increment: &PeerCounters) -> PeerCounters {
    PeerCounters {
        rx: before.rx.saturating_add(increment.rx),
        tx: before.tx.saturating_add(increment.tx),
        latest_handshake_at: before.latest_handshake_at.max(increment.latest_handshake_at),
    }
}
