//! The peers' transfers, as increments for the plane.
//!
//! The kernel counts from zero whenever a peer is added anew or the host boots; the plane wants
//! what was added since it last acknowledged. Owns the baseline (what of the kernel's numbers was
//! already counted), the increments, and the one batch under way, all in one file so that a crash
//! neither loses nor repeats a byte that was dumped. The arithmetic is pure.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use wgctl::api::{Counters as Batch, PeerCounters};
use wgctl::device::Device;
use wgctl::file;
use wgctl::name::Incarnation;
use wgctl::{PeerId, PublicKey, Timestamp};

const NAME: &str = "counters.json";

/// What is counted and not yet acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    incarnation: Incarnation,
    sequence: u64,
    baseline: BTreeMap<PublicKeyText, Counted>,
    increments: BTreeMap<PeerId, PeerCounters>,
    sent: Option<Batch>,
}

/// A public key as a JSON object's key.
type PublicKeyText = String;

/// What of a peer's kernel counters was already counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Counted {
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
        }
    }
}

impl Counters {
    /// What the folder's file holds. A file that cannot be read is an error to be told; counting
    /// then begins anew.
    pub fn load(folder: &Path) -> io::Result<Self> {
        match std::fs::read(folder.join(NAME)) {
            Ok(content) => serde_json::from_slice(&content).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Writes everything down. To be called before a batch is sent.
    pub fn save(&self, folder: &Path) -> io::Result<()> {
        file::write_private(&folder.join(NAME), &serde_json::to_vec(self)?)
    }

    /// The interface was made anew: its numbers begin at zero.
    pub fn interface_is_new(&mut self) {
        self.baseline.clear();
    }

    /// A peer that was there before us was taken over: what the kernel counted for it so far is not
    /// ours to tell, but for its latest handshake.
    pub fn peer_is_adopted(&mut self, key: &PublicKey, id: PeerId, (rx, tx): (u64, u64)) {
        self.baseline.entry(key.to_string()).or_insert(Counted {
            id,
            rx,
            tx,
            latest_handshake_at: None,
        });
    }

    /// This peer was put on the interface (anew): its numbers begin at zero.
    pub fn peer_is_new(&mut self, key: &PublicKey) {
        self.baseline.remove(&key.to_string());
    }

    /// Takes a dump in. `owner` names the peer of a key; a key without one (any more) counts for
    /// whom it was last counted. `known` says which peers there still are.
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
            // The numbers are the key's: a peer that takes over a key gets what comes from now on.
            let (rx, tx) = counted.map_or((0, 0), |counted| (counted.rx, counted.tx));
            // Less than before: the kernel began anew, and all it shows is new.
            let grown = |now: u64, then: u64| now.checked_sub(then).unwrap_or(now);
            let restarted = peer.rx_bytes < rx || peer.tx_bytes < tx;
            let (rx, tx) = if restarted { (0, 0) } else { (rx, tx) };
            let new_handshake = peer.latest_handshake != counted.and_then(|counted| counted.latest_handshake_at);
            let increment = (grown(peer.rx_bytes, rx), grown(peer.tx_bytes, tx));
            if increment != (0, 0) || (new_handshake && peer.latest_handshake.is_some()) {
                add(self.increments.entry(id).or_default(), increment, peer.latest_handshake);
            }
            let counted = Counted {
                id,
                rx: peer.rx_bytes,
                tx: peer.tx_bytes,
                latest_handshake_at: peer.latest_handshake,
            };
            self.baseline.insert(text, counted);
        }
        // A dump under a busy writer may pass a peer over: it is not new when the next one shows it.
        before.retain(|_, counted| known(counted.id));
        self.baseline.append(&mut before);
    }

    /// The batch to send: the one under way until it is acknowledged, else a new one of what has
    /// gathered; none when nothing has.
    pub fn batch(&mut self) -> Option<Batch> {
        if self.sent.is_none() && !self.increments.is_empty() {
            self.sequence += 1;
            let peers = std::mem::take(&mut self.increments);
            self.sent = Some(Batch {
                incarnation: self.incarnation,
                sequence: self.sequence,
                peers,
            });
        }
        self.sent.clone()
    }

    /// The plane has counted this batch.
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

#[cfg(test)]
mod tests {
    use wgctl::PrivateKey;
    use wgctl::device::Peer;

    use super::*;

    fn key() -> PublicKey {
        PrivateKey::generate().unwrap().public_key()
    }

    fn dump(peers: &[(PublicKey, u64, u64)]) -> Device {
        let peer = |rx_bytes, tx_bytes| Peer {
            rx_bytes,
            tx_bytes,
            ..Peer::default()
        };
        Device {
            peers: peers.iter().map(|(key, rx, tx)| (*key, peer(*rx, *tx))).collect(),
            ..Device::default()
        }
    }

    fn total(counters: &mut Counters, id: PeerId) -> (u64, u64) {
        let batch = counters.batch();
        if let Some(batch) = &batch {
            counters.acknowledge(batch.sequence);
        }
        batch
            .and_then(|batch| batch.peers.get(&id).copied())
            .map_or((0, 0), |peer| (peer.rx, peer.tx))
    }

    #[test]
    fn increments_add_up_to_what_the_kernel_counted_however_often_it_began_anew() {
        let (key, id) = (key(), PeerId::random());
        let mut counters = Counters::default();
        let mut observe = |rx, tx| {
            counters.observe(&dump(&[(key, rx, tx)]), |_| Some(id), |_| true);
            total(&mut counters, id)
        };
        assert_eq!(observe(100, 10), (100, 10));
        assert_eq!(observe(100, 10), (0, 0));
        assert_eq!(observe(150, 15), (50, 5));
        assert_eq!(observe(20, 30), (20, 30), "received shrank: both began anew");
    }

    #[test]
    fn a_peer_that_was_removed_and_added_counts_from_zero_again() {
        let (key, id) = (key(), PeerId::random());
        let mut counters = Counters::default();
        counters.observe(&dump(&[(key, 100, 100)]), |_| Some(id), |_| true);
        counters.peer_is_new(&key);
        counters.observe(&dump(&[(key, 300, 300)]), |_| Some(id), |_| true);
        assert_eq!(total(&mut counters, id), (400, 400));
    }

    #[test]
    fn a_peer_that_was_taken_over_counts_from_then_on_and_keeps_its_handshake() {
        let (key, id) = (key(), PeerId::random());
        let mut counters = Counters::default();
        counters.peer_is_adopted(&key, id, (1000, 100));
        let mut seen = dump(&[(key, 1030, 103)]);
        let at = Timestamp::from_unix(7);
        seen.peers.get_mut(&key).unwrap().latest_handshake = Some(at);
        counters.observe(&seen, |_| Some(id), |_| true);
        let told = counters.batch().unwrap().peers[&id];
        assert_eq!((told.rx, told.tx, told.latest_handshake_at), (30, 3, Some(at)));
        counters.peer_is_adopted(&key, id, (5000, 5000));
        counters.acknowledge(1);
        counters.observe(&dump(&[(key, 1031, 103)]), |_| Some(id), |_| true);
        assert_eq!(
            total(&mut counters, id),
            (1, 0),
            "what is counted already is not passed over"
        );
    }

    #[test]
    fn a_peer_that_a_dump_passed_over_is_not_counted_twice() {
        let (key, id) = (key(), PeerId::random());
        let mut counters = Counters::default();
        counters.observe(&dump(&[(key, 100, 100)]), |_| Some(id), |_| true);
        counters.observe(&dump(&[]), |_| Some(id), |_| true);
        counters.observe(&dump(&[(key, 110, 110)]), |_| Some(id), |_| true);
        assert_eq!(total(&mut counters, id), (110, 110));
    }

    #[test]
    fn the_last_dump_before_a_removal_still_counts() {
        let (key, id) = (key(), PeerId::random());
        let mut counters = Counters::default();
        counters.observe(&dump(&[(key, 100, 100)]), |_| Some(id), |_| true);
        counters.observe(&dump(&[(key, 170, 180)]), |_| None, |_| true);
        assert_eq!(total(&mut counters, id), (170, 180));
    }

    #[test]
    fn a_batch_is_the_same_until_it_is_acknowledged_and_survives_a_restart() {
        let (key, id) = (key(), PeerId::random());
        let folder = tempfile::tempdir().unwrap();
        let mut counters = Counters::load(folder.path()).unwrap();
        counters.observe(&dump(&[(key, 100, 100)]), |_| Some(id), |_| true);
        let batch = counters.batch().unwrap();
        counters.observe(&dump(&[(key, 130, 130)]), |_| Some(id), |_| true);
        assert_eq!(counters.batch().unwrap(), batch);
        counters.save(folder.path()).unwrap();

        let mut restarted = Counters::load(folder.path()).unwrap();
        assert_eq!(restarted.batch().unwrap(), batch);
        restarted.acknowledge(batch.sequence);
        restarted.observe(&dump(&[(key, 131, 131)]), |_| Some(id), |_| true);
        let next = restarted.batch().unwrap();
        assert_eq!((next.sequence, next.peers[&id].rx), (batch.sequence + 1, 31));
    }

    #[test]
    fn a_key_that_went_from_one_peer_to_another_is_counted_once() {
        let (key, one, two) = (key(), PeerId::random(), PeerId::random());
        let mut counters = Counters::default();
        counters.observe(&dump(&[(key, 100, 100)]), |_| Some(one), |_| true);
        assert_eq!(total(&mut counters, one), (100, 100));
        counters.observe(&dump(&[(key, 140, 140)]), |_| Some(two), |_| true);
        assert_eq!(total(&mut counters, two), (40, 40));
    }
}
