//! The peers' transfers, as increments for the plane.
//!
//! Owns the baseline (the part of the kernel's counters that has already been counted), the increments, the one
//! batch in flight, and the samples that have not been sent in a report yet. The kernel counts from zero whenever a
//! peer is added again or the host boots, but the plane expects the bytes since its last acknowledgement. All data
//! is in one file, so that a crash neither loses a byte that has been read nor counts it twice. It must not perform
//! I/O except on this file.

mod backlog;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wgctl::api::{Counters as Batch, PastSample, PeerCounters, Transfer};
use wgctl::device::Device;
use wgctl::name::Incarnation;
use wgctl::program::private_file;
use wgctl::{PeerId, PublicKey, Timestamp};

use backlog::Backlog;

const NAME: &str = "counters.json";

/// Transfers that have been counted but not yet acknowledged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    incarnation: Incarnation,
    sequence: u64,
    baseline: BTreeMap<PublicKeyText, CounterBaseline>,
    increments: BTreeMap<PeerId, PeerCounters>,
    sent: Option<Batch>,
    /// The total counted since these counters were created.
    #[serde(default)]
    total: Transfer,
    #[serde(default)]
    past: Backlog,
    /// True if earlier counts are unknown, so that the kernel's first values are not new transfers.
    #[serde(default)]
    resumed: bool,
    /// The host's uptime when the file was written.
    #[serde(default)]
    uptime: Duration,
    /// True if the file must be written before a batch is sent.
    #[serde(skip)]
    unsaved: bool,
}

/// A public key as text, because keys in a JSON object must be strings.
type PublicKeyText = String;

/// The part of a peer's kernel counters that has already been counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct CounterBaseline {
    id: PeerId,
    rx: u64,
    tx: u64,
    latest_handshake_at: Option<Timestamp>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            incarnation: Incarnation::random(),
            sequence: 0,
            baseline: BTreeMap::new(),
            increments: BTreeMap::new(),
            sent: None,
            total: Transfer::default(),
            past: Backlog::default(),
            resumed: false,
            uptime: Duration::ZERO,
            // Without a file, a restart would treat these counters as lost.
            unsaved: true,
        }
    }
}

impl Counters {
    /// Loads the counters from the file in `folder`; returns `None` if there is no file. If the host's `uptime` is
    /// less than when the file was written, the kernel has restarted from zero, however large its counters are now.
    pub fn load(folder: &Path, uptime: Duration) -> io::Result<Option<Self>> {
        let content = match std::fs::read(folder.join(NAME)) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut counters: Self = serde_json::from_slice(&content)?;
        if uptime < counters.uptime {
            counters.baseline.clear();
        }
        Ok(Some(counters))
    }

    /// Creates counters for a host whose earlier counters are lost. The plane may already have counted the values
    /// that the kernel shows first, and counting twice is worse than not counting.
    pub fn resumed() -> Self {
        Self {
            resumed: true,
            ..Self::default()
        }
    }

    /// Writes the file.
    pub fn save(&mut self, folder: &Path, uptime: Duration) -> io::Result<()> {
        self.uptime = uptime;
        private_file::write_private(&folder.join(NAME), &serde_json::to_vec(self)?)?;
        self.unsaved = false;
        Ok(())
    }

    /// Returns whether the file must be written. This is required before a batch is sent, and limits the loss in
    /// a crash to one minute of data.
    pub const fn is_unsaved(&self) -> bool {
        self.unsaved
    }

    /// Records that the interface has been created again: its counters start at zero.
    pub fn interface_is_new(&mut self) {
        self.unsaved |= !self.baseline.is_empty();
        self.baseline.clear();
        self.resumed = false;
    }

    /// Records that an existing peer was adopted: the kernel's earlier values are not reported, except for the
    /// latest handshake.
    pub fn peer_is_adopted(&mut self, key: &PublicKey, id: PeerId, (rx, tx): (u64, u64)) {
        self.unsaved = true;
        self.baseline.entry(key.to_string()).or_insert(CounterBaseline {
            id,
            rx,
            tx,
            latest_handshake_at: None,
        });
    }

    /// Records that this peer was added to the interface: its counters start at zero, and belong to this peer
    /// even if it is removed before they are read.
    pub fn peer_is_new(&mut self, key: &PublicKey, owner: Option<PeerId>) {
        let text = key.to_string();
        let before = match owner {
            None => self.baseline.remove(&text),
            Some(id) => self.baseline.insert(
                text,
                CounterBaseline {
                    id,
                    rx: 0,
                    tx: 0,
                    latest_handshake_at: None,
                },
            ),
        };
        self.unsaved |= before.is_some();
    }

    /// Counts the transfers in a dump. `owner` returns the peer that has a key; the transfers of a key without an
    /// owner are counted for its last owner. `known` returns whether a peer still exists.
    pub fn observe(
        &mut self,
        device: &Device,
        owner: impl Fn(&PublicKey) -> Option<PeerId>,
        known: impl Fn(PeerId) -> bool,
    ) {
        let mut before = std::mem::take(&mut self.baseline);
        for (key, peer) in &device.peers {
            let text = key.to_string();
            let counted = before.remove(&text);
            let Some(id) = owner(key).or(counted.map(|counted| counted.id)) else {
                continue;
            };
            // The counters belong to the key: a peer that takes over a key is credited only with later transfers.
            let unknown = if self.resumed {
                (peer.rx_bytes, peer.tx_bytes)
            } else {
                (0, 0)
            };
            let (rx, tx) = counted.map_or(unknown, |counted| (counted.rx, counted.tx));
            // If a counter has decreased, the kernel restarted from zero, and its whole value is new.
            let grown = |now: u64, then: u64| now.checked_sub(then).unwrap_or(now);
            let restarted = peer.rx_bytes < rx || peer.tx_bytes < tx;
            let (rx, tx) = if restarted { (0, 0) } else { (rx, tx) };
            let new_handshake = peer.latest_handshake != counted.and_then(|counted| counted.latest_handshake_at);
            let increment = (grown(peer.rx_bytes, rx), grown(peer.tx_bytes, tx));
            if increment != (0, 0) || (new_handshake && peer.latest_handshake.is_some()) {
                add(self.increments.entry(id).or_default(), increment, peer.latest_handshake);
                self.total.rx = self.total.rx.saturating_add(increment.0);
                self.total.tx = self.total.tx.saturating_add(increment.1);
            }
            let counted = CounterBaseline {
                id,
                rx: peer.rx_bytes,
                tx: peer.tx_bytes,
                latest_handshake_at: peer.latest_handshake,
            };
            self.baseline.insert(text, counted);
        }
        // A dump taken during changes may miss a peer; the peer is not new when the next dump contains it.
        before.retain(|_, counted| known(counted.id));
        self.baseline.append(&mut before);
        self.unsaved |= self.resumed;
        self.resumed = false;
    }

    /// Records that a report was delivered.
    pub const fn reported(&mut self, at: Timestamp) {
        self.past.reported(at);
    }

    /// Records that no report was delivered at `at`; the next attempt follows after `next`.
    pub fn missed(&mut self, at: Timestamp, ping_ms: Option<f64>, next: Duration) {
        let Transfer { rx, tx } = self.total;
        let sample = PastSample { at, ping_ms, rx, tx };
        self.unsaved |= self.past.missed(sample, next);
    }

    /// Returns the total counted since these counters were created.
    pub const fn total(&self) -> Transfer {
        self.total
    }

    /// Returns the number of samples waiting for a plane, excluding those in flight.
    pub fn waiting(&self) -> usize {
        self.past.len()
    }

    /// Returns whether there are samples beyond those in the batch in flight.
    pub fn has_backlog(&self) -> bool {
        !self.past.is_empty()
    }

    /// Returns the batch to send: the one in flight until it is acknowledged, otherwise a new one with everything
    /// that has accumulated; `None` if there is nothing to send.
    pub fn batch(&mut self) -> Option<Batch> {
        if self.sent.is_none() && !(self.increments.is_empty() && self.past.is_empty()) {
            self.sequence += 1;
            let peers = std::mem::take(&mut self.increments);
            self.sent = Some(Batch {
                incarnation: self.incarnation,
                sequence: self.sequence,
                peers,
                total: Some(self.total),
                samples: self.past.take(),
            });
            self.unsaved = true;
        }
        self.sent.clone()
    }

    /// Records that the plane has counted this batch.
    pub fn acknowledge(&mut self, sequence: u64) {
        if self.sent.as_ref().is_some_and(|batch| batch.sequence == sequence) {
            self.sent = None;
        }
    }
}

fn add(total: &mut PeerCounters, (rx, tx): (u64, u64), handshake: Option<Timestamp>) {
    total.rx = total.rx.saturating_add(rx);
    total.tx = total.tx.saturating_add(tx);
    total.latest_handshake_at = handshake.max(total.latest_handshake_at);
}

/// Returns the uptime of this host. The kernel's boot ID would be more exact, but `ProcSubset=pid` hides it.
#[must_use]
pub fn uptime() -> Duration {
    nix::sys::sysinfo::sysinfo().map_or(Duration::ZERO, |info| info.uptime())
}

#[cfg(test)]
mod tests;
