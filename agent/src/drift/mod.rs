//! The ledger of drift: changes that others made to the interface, as reported to the plane.
//!
//! Owns the standing drift (left as it is) and the numbered reports, all in one file, so that a restart
//! counts nothing twice. Events that were not yet in a report may be lost in a crash. `reconcile` decides
//! what is drift. Pure except for the file.

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

/// The identity of a drift: its kind and its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Id {
    /// The kind of change.
    pub kind: DriftKind,
    /// The changed part.
    pub subject: Subject,
}

/// The part of the interface that a drift is about.
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

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its identity.
    pub id: Id,
    /// The recorded peer it is about.
    pub peer: Option<PeerId>,
    /// A description for people.
    pub detail: String,
    /// Others caused it since the agent left the interface, as far as is remembered.
    pub drifted: bool,
}

/// The side that a finding belongs to; each side is compared separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Key, port and peers.
    Device,
    /// Addresses, MTU, state, routes, masquerading.
    Host,
    /// The link as such.
    Link,
}

impl Side {
    /// The side of a kind.
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

/// The plane's side of the drift reports, as the ledger learns of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriftReceipt {
    /// A plane has accepted the introduction; it may not know what was reported before.
    PlaneConnected,
    /// The plane has accepted the report with this number.
    Acknowledged(u64),
}

/// The standing drift, and the reports of drift.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    incarnation: Incarnation,
    sequence: u64,
    repaired: EventBuffer,
    seen: EventBuffer,
    #[serde(with = "pairs")]
    standing: BTreeMap<Id, Drift>,
    /// The standing drift in the last report; none if it must be reported again in any case.
    told: Option<Vec<Drift>>,
    sent: Option<DriftReport>,
    /// The ledger differs from the file.
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
    /// The ledger in the folder's file. After an error the caller starts with a new one.
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

    /// Returns whether this drift stands: it is left as it is, or could not be repaired.
    #[must_use]
    pub fn stands(&self, id: &Id) -> bool {
        self.standing.contains_key(id)
    }

    /// The standing drift.
    pub fn standing(&self) -> impl Iterator<Item = (&Id, &Drift)> {
        self.standing.iter()
    }

    /// Notes drift that was repaired.
    pub fn add_repaired(&mut self, found: Finding, now: Timestamp) {
        let before = self.standing.remove(&found.id);
        let drift = before.unwrap_or_else(|| drift(found, now));
        tracing::warn!(kind = %drift.kind, "repaired a change that others made: {}", drift.detail);
        self.repaired.add(drift);
        self.changed = true;
    }

    /// Notes drift that stays for now.
    pub fn add_standing(&mut self, found: Finding, now: Timestamp) {
        if self.stands(&found.id) {
            return;
        }
        let id = found.id;
        let drift = drift(found, now);
        tracing::warn!(kind = %drift.kind, "left a change that others made: {}", drift.detail);
        self.seen.add(drift.clone());
        self.standing.insert(id, drift);
        self.changed = true;
    }

    /// Drops standing drift of this side that is not in `found`: others reverted it, or it is desired now.
    pub fn retain_only(&mut self, side: Side, found: &BTreeSet<Id>) {
        self.forget(|id, _| Side::of(id.kind) == side && !found.contains(id));
    }

    /// Drops standing drift that no longer matters, because the record changed.
    pub fn forget(&mut self, mut which: impl FnMut(&Id, &Drift) -> bool) {
        let before = self.standing.len();
        self.standing.retain(|id, drift| !which(id, drift));
        self.changed |= self.standing.len() != before;
    }

    /// Makes the next report name all standing drift: a newly connected plane may not know of it.
    pub fn tell_again(&mut self) {
        self.told = None;
    }

    /// The report to send: the one in flight until it is acknowledged, else a new one if there is news.
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

    /// Notes that the plane has accepted this report.
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

/// A map as a list of pairs: JSON's keys are text.
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
