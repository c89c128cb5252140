//! The write set of a commit: the rows that it wrote or erased.
//!
//! Owns the collection of these rows, and the effects of a commit on waiting requests ([`WriteSet::effects`]). It must
//! not know which requests are waiting, or how rows are stored. Replaying the write sets in commit order reproduces the
//! rows of the database.

use std::collections::{BTreeMap, BTreeSet};

use wgctl::ServerId;

use super::table::Table;
use crate::model::effect::Effect;
use crate::model::records::Ledger;

/// The final state of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RowWrite {
    /// The row now has this value.
    Put(Vec<u8>),
    /// The row was erased.
    Erased,
}

/// A single write to a row.
#[derive(Clone, Copy)]
enum Write<'a> {
    Put(&'a [u8]),
    /// The row is erased. Holds the row's last value, if the row existed.
    Erased(Option<&'a [u8]>),
}

/// The rows that one commit wrote, each with its final state, and the effects of the writes.
///
/// The rows are listed only if a follower needs them, because the list holds a copy of every row, and a large change
/// writes many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WriteSet {
    effects: BTreeSet<Effect>,
    rows: Option<BTreeMap<(Table, Vec<u8>), RowWrite>>,
    replaced: bool,
}

impl WriteSet {
    /// Creates an empty write set that will list its rows.
    pub(super) fn with_rows() -> Self {
        Self {
            rows: Some(BTreeMap::new()),
            ..Self::default()
        }
    }

    /// Records that a row was written.
    pub(super) fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        self.note(table, key, Write::Put(value));
    }

    /// Records that a row was erased; `last` is the row's last value, if the row existed.
    pub(super) fn erase(&mut self, table: Table, key: &[u8], last: Option<&[u8]>) {
        self.note(table, key, Write::Erased(last));
    }

    fn note(&mut self, table: Table, key: &[u8], write: Write<'_>) {
        if self.replaced {
            return;
        }
        self.effects.extend(effect(table, key, write));
        if let Some(rows) = &mut self.rows {
            let outcome = match write {
                Write::Put(value) => RowWrite::Put(value.to_vec()),
                Write::Erased(_) => RowWrite::Erased,
            };
            rows.insert((table, key.to_vec()), outcome);
        }
    }

    /// Records that all rows in all tables are replaced. The rows are not listed individually, so that memory use does
    /// not grow with the database. A follower must read everything again.
    pub(super) fn replace_everything(&mut self) {
        self.rows = None;
        self.effects = BTreeSet::from([Effect::EverythingReplaced]);
        self.replaced = true;
    }

    /// Returns whether everything was replaced. In that case, no rows are listed.
    #[cfg(test)]
    pub(crate) const fn is_replacement(&self) -> bool {
        self.replaced
    }

    /// Returns the rows, ordered by table and key.
    #[cfg(test)]
    pub(crate) fn rows(&self) -> impl Iterator<Item = (Table, &[u8], &RowWrite)> {
        let rows = self.rows.iter().flatten();
        rows.map(|((table, key), write)| (*table, key.as_slice(), write))
    }

    /// Returns the effects of the commit on waiting requests. One effect may stand for any number of rows.
    pub(crate) const fn effects(&self) -> &BTreeSet<Effect> {
        &self.effects
    }
}

/// Returns the effect of a write to one row. This is the only place that maps rows to effects.
fn effect(table: Table, key: &[u8], write: Write<'_>) -> Option<Effect> {
    match (table, write) {
        (Table::Ledgers, Write::Put(ledger)) => {
            let ledger: Ledger = serde_json::from_slice(ledger).ok()?;
            Some(Effect::DesiredStateAdvanced {
                server: server(key)?,
                revision: ledger.revision,
            })
        }
        (Table::Confirmations | Table::Failures, _) => Some(Effect::Confirmed { server: server(key)? }),
        (Table::Prekeys, Write::Put(_)) => Some(Effect::PrekeysAdded { server: server(key)? }),
        (Table::AgentTokens, Write::Erased(Some(whose))) => Some(Effect::AgentCutOff { server: server(whose)? }),
        (Table::Servers, Write::Erased(_)) => Some(Effect::AgentCutOff { server: server(key)? }),
        (
            Table::Meta
            | Table::Servers
            | Table::Ledgers
            | Table::RetiredServers
            | Table::AgentTokens
            | Table::Measurements
            | Table::Peers
            | Table::PeerPlaces
            | Table::PeerNames
            | Table::PeerKeys
            | Table::Spans
            | Table::FreeRuns
            | Table::Changes
            | Table::Counters
            | Table::Prekeys
            | Table::SpentPrekeys
            | Table::Users
            | Table::UserEmails
            | Table::ApiTokens
            | Table::ApiTokenHashes
            | Table::ApiTokenNames
            | Table::ApiTokenUses
            | Table::Audit
            | Table::AuditChain
            | Table::AuditCheckpoints
            | Table::AuditActors
            | Table::AuditActions
            | Table::AuditTargets
            | Table::AuditRuns
            | Table::Answers
            | Table::AnswerTimes
            | Table::Penalties
            | Table::History,
            _,
        ) => None,
    }
}

/// Returns the server whose id is at the beginning of a key or value. The id ends at the first zero byte, or at the end
/// of the bytes.
fn server(bytes: &[u8]) -> Option<ServerId> {
    let id = bytes.split(|byte| *byte == 0).next()?;
    std::str::from_utf8(id).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(server: &str) -> ServerId {
        server.parse().unwrap()
    }

    #[test]
    fn each_write_has_the_effect_that_wakes_the_requests_waiting_for_it() {
        let mut writes = WriteSet::default();
        let ledger = br#"{"revision":7,"floor":0,"last_place":3,"peers":3}"#;
        writes.put(Table::Ledgers, b"la", ledger);
        writes.put(Table::Failures, b"la\0peer", b"no");
        writes.put(Table::Prekeys, b"oslo\0key", b"{}");
        writes.erase(Table::Prekeys, b"paris\0key", None);
        writes.erase(Table::AgentTokens, b"hash", Some(b"rome"));
        writes.erase(Table::AgentTokens, b"unknown", None);
        writes.put(Table::Audit, b"1", b"{}");
        let expected = BTreeSet::from([
            Effect::DesiredStateAdvanced {
                server: of("la"),
                revision: 7,
            },
            Effect::Confirmed { server: of("la") },
            Effect::PrekeysAdded { server: of("oslo") },
            Effect::AgentCutOff { server: of("rome") },
        ]);
        assert_eq!(*writes.effects(), expected);
    }

    #[test]
    fn replacing_everything_lists_no_rows_and_has_a_single_effect() {
        let mut writes = WriteSet::with_rows();
        writes.put(Table::Prekeys, b"oslo\0key", b"{}");
        writes.replace_everything();
        writes.put(Table::Prekeys, b"oslo\0key", b"{}");
        assert_eq!(writes.rows().count(), 0);
        assert_eq!(*writes.effects(), BTreeSet::from([Effect::EverythingReplaced]));
    }
}
