//! The drift ledger: external changes to the interface, in the form in which they are reported to the plane.
//!
//! Owns the standing drift (which is left as it is) and the numbered reports, all in one file, so that nothing is
//! counted twice after a restart. A crash may lose events that were not yet in a report. It must not decide what
//! counts as drift: that belongs to `reconcile`. It must not perform I/O except on its file.

mod event_buffer;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use wgctl::drift::{Drift, DriftKind};
use wgctl::name::Incarnation;
use wgctl::program::private_file;
use wgctl::protocol::v1::DriftReport;
use wgctl::{PeerId, PublicKey, Timestamp};

use event_buffer::{AT_MOST, EventBuffer};

const NAME: &str = "drift.json";

/// The identity of an instance of drift: its kind and its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Id {
    /// The kind of change.
    pub kind: DriftKind,
    /// The part of the interface that has changed.
    pub subject: Subject,
}

/// The part of the interface that a drift concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The interface.
    Interface,
    /// The peer with this key.
    Peer(PublicKey),
    /// This address or route.
    Network(IpNet),
}

/// A deviation from the desired state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The identity of the drift.
    pub id: Id,
    /// The recorded peer that the deviation concerns.
    pub peer: Option<PeerId>,
    /// A human-readable description.
    pub detail: String,
    /// True if an external change caused the deviation after the agent last configured the interface, as far as the
    /// agent's record shows.
    pub drifted: bool,
}

/// The side to which a finding belongs; each side is compared separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The private key, port and peers.
    Device,
    /// The addresses, MTU, link state, routes and masquerading.
    Host,
    /// The existence of the link.
    Link,
}

impl Side {
    /// Returns the side to which a kind of drift belongs.
    #[must_use]
    pub const fn of(kind: DriftKind) -> Self {
        match kind {
            DriftKind::PeerRemoved
            | DriftKind::PeerAdded
            | DriftKind::PeerChanged
            | DriftKind::AllowedIpsChanged
            | DriftKind::PrivateKeyChanged
            | DriftKind::ListenPortChanged => Self::Device,
            DriftKind::LinkDown
            | DriftKind::MtuChanged
            | DriftKind::AddressRemoved
            | DriftKind::AddressAdded
            | DriftKind::RouteRemoved
            | DriftKind::MasqueradeChanged => Self::Host,
            DriftKind::LinkDeleted => Self::Link,
        }
    }
}

/// A message from the plane that concerns drift reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriftReceipt {
    /// A plane has accepted the introduction; it may not know of earlier reports.
    PlaneConnected,
    /// The plane has accepted the report with this number.
    Acknowledged(u64),
}

/// The standing drift and the drift reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    incarnation: Incarnation,
    sequence: u64,
    repaired: EventBuffer,
    seen: EventBuffer,
    #[serde(with = "pairs")]
    standing: BTreeMap<Id, Drift>,
    /// The standing drift in the last report; `None` if it must be reported again in any case.
    told: Option<Vec<Drift>>,
    sent: Option<DriftReport>,
    /// True if the ledger differs from the file.
    #[serde(skip)]
    changed: bool,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            incarnation: Incarnation::random(),
            sequence: 0,
            repaired: EventBuffer::default(),
            seen: EventBuffer::default(),
            standing: BTreeMap::new(),
            told: Some(Vec::new()),
            sent: None,
            changed: false,
        }
    }
}

impl Ledger {
    /// Loads the ledger from its file in `folder`. After an error, the caller starts with a new ledger.
    pub fn load(folder: &Path) -> io::Result<Self> {
        match std::fs::read(folder.join(NAME)) {
            Ok(content) => serde_json::from_slice(&content).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Writes the file if the ledger has changed. Must be called before a report is sent.
    pub fn save(&mut self, folder: &Path) -> io::Result<()> {
        if self.changed {
            private_file::write_private(&folder.join(NAME), &serde_json::to_vec(self)?)?;
            self.changed = false;
        }
        Ok(())
    }

    /// Returns whether this drift is standing: it is left as it is, or could not be repaired.
    #[must_use]
    pub fn stands(&self, id: &Id) -> bool {
        self.standing.contains_key(id)
    }

    /// Returns the standing drift.
    pub fn standing(&self) -> impl Iterator<Item = (&Id, &Drift)> {
        self.standing.iter()
    }

    /// Records drift that has been repaired.
    pub fn add_repaired(&mut self, found: Finding, now: Timestamp) {
        let before = self.standing.remove(&found.id);
        let drift = before.unwrap_or_else(|| drift(found, now));
        tracing::warn!(kind = %drift.kind, "repaired an external change: {}", drift.detail);
        self.repaired.add(drift);
        self.changed = true;
    }

    /// Records drift that remains for now.
    pub fn add_standing(&mut self, found: Finding, now: Timestamp) {
        if self.stands(&found.id) {
            return;
        }
        let id = found.id;
        let drift = drift(found, now);
        tracing::warn!(kind = %drift.kind, "left an external change in place: {}", drift.detail);
        self.seen.add(drift.clone());
        self.standing.insert(id, drift);
        self.changed = true;
    }

    /// Removes standing drift on this side that is not in `found`: it has been reverted externally, or the changed
    /// state is now desired.
    pub fn retain_only(&mut self, side: Side, found: &BTreeSet<Id>) {
        self.forget(|id, _| Side::of(id.kind) == side && !found.contains(id));
    }

    /// Removes standing drift that no longer matters, because the record has changed.
    pub fn forget(&mut self, mut which: impl FnMut(&Id, &Drift) -> bool) {
        let before = self.standing.len();
        self.standing.retain(|id, drift| !which(id, drift));
        self.changed |= self.standing.len() != before;
    }

    /// Makes the next report include all standing drift, because a newly connected plane may not know of it.
    pub fn tell_again(&mut self) {
        self.told = None;
    }

    /// Returns the report to send: the one in flight until it is acknowledged, otherwise a new one if there is
    /// news.
    pub fn report(&mut self) -> Option<DriftReport> {
        if self.sent.is_none() {
            let standing = self.oldest();
            let new = !self.repaired.is_empty() || !self.seen.is_empty();
            if new || self.told.as_ref() != Some(&standing) {
                self.sequence += 1;
                self.told = Some(standing.clone());
                self.sent = Some(DriftReport {
                    incarnation: self.incarnation,
                    sequence: self.sequence,
                    repaired: std::mem::take(&mut self.repaired).into_events(),
                    seen: std::mem::take(&mut self.seen).into_events(),
                    standing,
                });
                self.changed = true;
            }
        }
        self.sent.clone()
    }

    /// Records that the plane has accepted this report.
    pub fn acknowledge(&mut self, sequence: u64) {
        if self.sent.as_ref().is_some_and(|report| report.sequence == sequence) {
            self.sent = None;
            self.changed = true;
        }
    }

    fn oldest(&self) -> Vec<Drift> {
        let mut all: Vec<&Drift> = self.standing.values().collect();
        all.sort_by_key(|drift| drift.seen_at);
        all.into_iter().take(AT_MOST).cloned().collect()
    }
}

fn drift(found: Finding, now: Timestamp) -> Drift {
    let Finding {
        id: Id { kind, subject },
        peer,
        detail,
        drifted: _,
    } = found;
    let public_key = match (subject, peer) {
        (Subject::Peer(key), None) => Some(key),
        (Subject::Peer(_), Some(_)) | (Subject::Interface | Subject::Network(_), _) => None,
    };
    Drift {
        kind,
        peer,
        public_key,
        count: 1,
        detail: event_buffer::cut(&detail),
        seen_at: now,
    }
}

/// Serialization of a map as a list of pairs, because keys in JSON must be strings.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};
    use wgctl::drift::Drift;

    use super::Id;

    pub(super) fn serialize<S: Serializer>(map: &BTreeMap<Id, Drift>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<Id, Drift>, D::Error> {
        Vec::<(Id, Drift)>::deserialize(deserializer).map(|pairs| pairs.into_iter().collect())
    }
}

#[cfg(test)]
mod tests;
