//! Reports: what an agent measured, folded into status, totals and history.
//!
//! Owns the counting. Each batch of increments counts once, however often it is sent.

use std::collections::BTreeMap;

use wgctl::api::{Counters, PeerCounters, Report};
use wgctl::{PeerId, ServerId, Timestamp};

use super::servers::existing;
use super::{Fleet, Refusal};
use crate::history::{self, Measure};
use crate::store::prelude::*;
use crate::store::{AgentState, Recording};

impl Fleet {
    /// An agent (or anything with its token) reports metrics. `report.server_id` must be `server`:
    /// the caller checks.
    pub async fn report(&self, server: &ServerId, report: Report) -> Result<(), Refusal> {
        let (id, now) = (server.clone(), self.now());
        self.store()
            .record(async move |tx: &Recording<'_>| record(tx, &id, report, now).await)
            .await
    }
}

async fn record(tx: &impl Record, id: &ServerId, report: Report, now: Timestamp) -> Result<(), Refusal> {
    existing(tx, id).await?;
    let mut state = tx.agent_state(id).await?;
    let grown = match &report.counters {
        Some(counters) => count(tx, id, &mut state, counters).await?,
        // Who counts in batches has none to send when nothing passed: the totals stay.
        None if state.counted.is_some() => BTreeMap::new(),
        None => {
            state.transfer_rx = report.transfer_rx;
            state.transfer_tx = report.transfer_tx;
            BTreeMap::new()
        }
    };
    let possible = |ping: &f64| ping.is_finite() && *ping >= 0.0;
    state.ping_ms = report.ping_ms.filter(possible);
    state.peers = report.peers;
    state.report_interval = report.report_interval.map(|seconds| seconds.clamp(1, 3600));
    state.reported_at = Some(now);
    let (hour, packed) = sample(tx, id, &state, now).await?;

    tx.put_counters(id, &grown).await?;
    tx.put_agent_state(id, &state).await?;
    tx.put_hour(hour, id, &packed).await?;
    Ok(())
}

/// Adds a batch to the server's totals, unless it was counted before. Gives the peers' new totals.
async fn count(
    tx: &impl Record,
    id: &ServerId,
    state: &mut AgentState,
    batch: &Counters,
) -> Result<BTreeMap<PeerId, PeerCounters>, Refusal> {
    let mut grown = BTreeMap::new();
    let counted = state
        .counted
        .is_some_and(|(incarnation, last)| incarnation == batch.incarnation && batch.sequence <= last);
    if counted {
        return Ok(grown);
    }
    for (peer, increment) in &batch.peers {
        // A peer that was removed meanwhile still passed these bytes.
        state.transfer_rx = state.transfer_rx.saturating_add(increment.rx);
        state.transfer_tx = state.transfer_tx.saturating_add(increment.tx);
        if tx.peer(id, peer).await?.is_some() {
            let before = tx.counters(id, peer).await?;
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

/// The hour's history with this report in it.
async fn sample(
    tx: &impl Record,
    id: &ServerId,
    state: &AgentState,
    now: Timestamp,
) -> Result<(u64, Vec<u8>), Refusal> {
    let (hour, minute) = history::place(now);
    let packed = tx.hour(hour, id).await?.unwrap_or_default();
    let mut samples = if packed.is_empty() {
        Vec::new()
    } else {
        history::unpack(&packed).unwrap_or_else(|error| {
            tracing::error!(server = %id, hour, %error, "an hour of history is lost");
            Vec::new()
        })
    };
    let measure = Measure {
        ping_ms: state.ping_ms,
        transfer_rx: state.transfer_rx,
        transfer_tx: state.transfer_tx,
    };
    history::fold(&mut samples, minute, &measure);
    Ok((hour, history::pack(&samples)))
}
