//! Verification of a log: checks that it is intact, or finds the first record that is not.
//!
//! Owns the rules and their messages. It processes one line at a time and remembers one hash, so that a log
//! of any length can be verified. It must not read or fetch anything.

use std::cmp::Ordering;

use super::sign::CHECKPOINT_EVERY;
use super::{chain, sign};
use crate::api::{AuditKey, AuditLine, AuditRecord, Checkpoint, Fault, Head, Pruned, Verification};

/// The requirements that a log must meet in addition to an intact chain.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// The accepted keys. If the list is empty, signatures by any key are accepted.
    pub keys: Vec<AuditKey>,
    /// True if checkpoints are required (a CSV export has none).
    pub checkpoints: bool,
    /// A record that is already known, and that the log must contain.
    pub head: Option<Head>,
}

/// A verification in progress.
#[derive(Debug, Clone)]
pub struct Verifier {
    expected: Expected,
    /// The record after which the chain begins.
    base: Head,
    /// The last intact record.
    last: Head,
    records: u64,
    checkpoints: u64,
    /// The last record that has a checkpoint, whichever key signed it.
    marked: u64,
    /// The last record that is covered by a signature with an accepted key, and that key.
    signed: Option<(u64, AuditKey)>,
    /// A later record whose checkpoint is signed with another key, and that key.
    foreign: Option<(u64, AuditKey)>,
    pruned: Option<Pruned>,
    fault: Option<Fault>,
}

impl Verifier {
    /// Creates a verifier that has not read any lines yet.
    #[must_use]
    pub fn new(expected: Expected) -> Self {
        Self {
            expected,
            base: Head::default(),
            last: Head::default(),
            records: 0,
            checkpoints: 0,
            marked: 0,
            signed: None,
            foreign: None,
            pruned: None,
            fault: None,
        }
    }

    /// Processes the next line. Returns true while there is no fault; lines after a fault are ignored.
    pub fn line(&mut self, line: &AuditLine) -> bool {
        match line {
            AuditLine::Pruned(stub) => self.pruned(stub),
            AuditLine::Record(record) => self.record(record),
            AuditLine::Checkpoint(checkpoint) => self.checkpoint(checkpoint),
        }
    }

    /// Processes the next record.
    pub fn record(&mut self, record: &AuditRecord) -> bool {
        if self.fault.is_none() {
            self.fault = self.next(record).err();
        }
        self.fault.is_none()
    }

    /// Processes a checkpoint, which follows its record.
    pub fn checkpoint(&mut self, checkpoint: &Checkpoint) -> bool {
        if self.fault.is_none() {
            self.fault = self.mark(checkpoint).err();
        }
        self.fault.is_none()
    }

    /// Processes the statement about removed records, which precedes everything else.
    pub fn pruned(&mut self, stub: &Pruned) -> bool {
        if self.fault.is_none() {
            self.fault = self.begin_after(stub).err();
        }
        self.fault.is_none()
    }

    /// Records a fault because the next record is unreadable.
    pub fn unreadable(&mut self, reason: &str) {
        let id = self.last.id + 1;
        self.fault.get_or_insert_with(|| fault(id, reason));
    }

    /// Compares the end of the log with the newest record, which is also stored outside the log. Called after
    /// the last line.
    pub fn ends_at(&mut self, head: Head) {
        if self.fault.is_some() || head == self.last {
            return;
        }
        let (due, here) = (head.id, self.last.id);
        self.fault = Some(match due.cmp(&here) {
            Ordering::Greater => fault(here + 1, format!("it was removed: the log extended to record {due}")),
            Ordering::Less => fault(due + 1, format!("it was inserted: the log ended with record {due}")),
            Ordering::Equal => fault(here, "it was changed: the log's head has another hash"),
        });
    }

    /// Returns the outcome. Called after the last line.
    #[must_use]
    pub fn finish(mut self) -> Verification {
        if self.fault.is_none() {
            self.fault = self.end().err();
        }
        Verification {
            ok: self.fault.is_none(),
            records: self.records,
            first: (self.records > 0).then_some(self.base.id + 1),
            last: (self.records > 0).then_some(self.last.id),
            head: self.last,
            checkpoints: self.checkpoints,
            signed_until: self.signed_until(),
            public_key: self.signed.map(|(_, key)| key),
            pruned: self.pruned,
            fault: self.fault,
        }
    }

    /// Returns the last intact record.
    #[must_use]
    pub const fn head(&self) -> Head {
        self.last
    }

    /// Returns the number of the last record that a signature covers, or of the record after which the chain begins.
    fn signed_until(&self) -> u64 {
        self.signed.map_or(self.base.id, |(id, _)| id)
    }

    fn counts(&self, key: &AuditKey) -> bool {
        self.expected.keys.is_empty() || self.expected.keys.contains(key)
    }

    fn next(&mut self, record: &AuditRecord) -> Result<(), Fault> {
        self.require_checkpoint()?;
        let due = self.last.id + 1;
        if record.id < due {
            let reason = format!("it is a duplicate or out of place: it follows record {}", self.last.id);
            return Err(fault(record.id.max(1), reason));
        }
        if record.id > due {
            let reason = format!("it was removed or moved: record {} is in its place", record.id);
            return Err(fault(due, reason));
        }
        if chain::follow(&self.last.hash, record) != record.hash {
            let reason = match self.last.id == self.base.id {
                true => "it was changed: its hash does not match its content".to_owned(),
                false => format!(
                    "it was changed or inserted: its hash does not match its content after record {}",
                    self.last.id
                ),
            };
            return Err(fault(due, reason));
        }
        let here = Head {
            id: record.id,
            hash: record.hash,
        };
        self.compare(here)?;
        self.last = here;
        self.records += 1;
        Ok(())
    }

    /// Compares a record with the one that is already known.
    fn compare(&self, here: Head) -> Result<(), Fault> {
        match self.expected.head {
            Some(known) if known.id == here.id && known.hash != here.hash => {
                let reason = format!(
                    "this or an earlier record was changed and all later hashes were recomputed: record {} had \
                     another hash",
                    here.id
                );
                Err(fault(self.signed_until().min(here.id - 1) + 1, reason))
            }
            _ => Ok(()),
        }
    }

    fn mark(&mut self, checkpoint: &Checkpoint) -> Result<(), Fault> {
        let Checkpoint {
            id,
            hash,
            created_at: _,
            public_key,
            signature: _,
        } = checkpoint;
        if *id > self.last.id {
            let reason = format!("it was removed: the log has a checkpoint for record {id}");
            return Err(fault(self.last.id + 1, reason));
        }
        if *id < self.last.id {
            return Err(fault(*id, "its checkpoint is out of place"));
        }
        let first = (self.signed_until() + 1).min(*id);
        if !sign::is_genuine(checkpoint) {
            let reason =
                format!("it or another record up to {id} was changed: the checkpoint there is not what was signed");
            return Err(fault(first, reason));
        }
        if *hash != self.last.hash {
            let reason = format!(
                "it or another record up to {id} was changed and the hashes were recomputed: the checkpoint there has \
                 another hash"
            );
            return Err(fault(first, reason));
        }
        self.checkpoints += 1;
        self.marked = *id;
        if self.counts(public_key) {
            self.signed = Some((*id, *public_key));
            self.foreign = None;
        } else {
            self.foreign = Some((*id, *public_key));
        }
        Ok(())
    }

    fn begin_after(&mut self, stub: &Pruned) -> Result<(), Fault> {
        if self.records > 0 || self.pruned.is_some() {
            return Err(fault(
                self.last.id + 1,
                "the statement about removed records is not at the beginning",
            ));
        }
        if !sign::is_genuine_stub(stub) {
            return Err(fault(
                stub.id,
                "the statement that it was removed because of its age is not what was signed",
            ));
        }
        if !self.counts(&stub.public_key) {
            let reason = format!(
                "the statement that it was removed because of its age is signed by a key that is not known, {}",
                stub.public_key
            );
            return Err(fault(stub.id, reason));
        }
        self.base = Head {
            id: stub.id,
            hash: stub.hash,
        };
        self.compare(self.base)?;
        (self.last, self.marked, self.pruned) = (self.base, self.base.id, Some(*stub));
        Ok(())
    }

    /// Requires a checkpoint for the last record. Called when the record is followed by another one or by the end of
    /// the log.
    fn require_checkpoint(&self) -> Result<(), Fault> {
        let due = self.expected.checkpoints && self.last.id.is_multiple_of(CHECKPOINT_EVERY);
        if due && self.last.id > self.base.id && self.marked < self.last.id {
            return Err(fault(self.last.id, "its checkpoint was removed"));
        }
        Ok(())
    }

    fn end(&self) -> Result<(), Fault> {
        self.require_checkpoint()?;
        if let Some((id, key)) = self.foreign {
            let reason = format!("the checkpoint for record {id} is signed by a key that is not known, {key}");
            return Err(fault(self.signed_until() + 1, reason));
        }
        match self.expected.head {
            Some(known) if known.id > self.last.id => {
                let reason = format!("it was cut off: the log extended to record {}", known.id);
                Err(fault(self.last.id + 1, reason))
            }
            Some(known) if known.id < self.base.id => {
                let reason = "it can no longer be compared: it was removed because of its age";
                Err(fault(known.id, reason))
            }
            _ => Ok(()),
        }
    }
}

fn fault(id: u64, reason: impl Into<String>) -> Fault {
    Fault {
        id,
        reason: reason.into(),
    }
}
