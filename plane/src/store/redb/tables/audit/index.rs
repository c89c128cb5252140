//! The audit log's indexes by actor, by action and by target.
//!
//! Owns the keys of the indexes: a text, a zero byte, and the record's number. A target is indexed under itself and
//! under its ancestors, to a limited depth, so that untrusted text cannot create many rows.

use wgctl::api::AuditRecord;

use super::number;
use crate::store::error::StoreError;
use crate::store::redb::rows::{Order, Rows, Span, WriteRows};
use crate::store::table::Table;

/// The maximum number of parts of a target that are indexed. A deeper target is found through its deepest indexed
/// ancestor.
const DEPTH: usize = 3;

/// The numbers of the records that are indexed under one text.
pub(super) struct Index {
    table: Table,
    prefix: Vec<u8>,
}

impl Index {
    pub(super) fn of(table: Table, text: &str) -> Self {
        Self {
            table,
            prefix: prefix(text),
        }
    }

    /// Returns the index that contains all records at or below `target`. It may also contain other records.
    pub(super) fn of_target(target: &str) -> Self {
        Self::of(Table::AuditTargets, ancestors(target).last().unwrap_or(target))
    }

    /// Returns the greatest number that is not above `most`.
    pub(super) fn at_most(&self, rows: &impl Rows, most: u64) -> Result<Option<u64>, StoreError> {
        let span = Span::under(&self.prefix).to(key(&self.prefix, most));
        let found = rows.some(self.table, span, Order::Down, 1)?;
        Ok(found.first().map(|(key, _)| number(key)))
    }
}

fn prefix(text: &str) -> Vec<u8> {
    let mut prefix = text.as_bytes().to_vec();
    // Texts in the log contain no control characters, but the text of a query may.
    prefix.retain(|byte| *byte != 0);
    prefix.push(0);
    prefix
}

fn key(prefix: &[u8], number: u64) -> Vec<u8> {
    let mut key = prefix.to_vec();
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// Returns the texts under which a target is indexed: `a`, `a/b`, `a/b/c` for `a/b/c/d`.
fn ancestors(target: &str) -> impl Iterator<Item = &str> {
    let cuts = target.match_indices('/').map(|(at, _)| at).chain([target.len()]);
    cuts.take(DEPTH).filter_map(|at| target.get(..at))
}

fn keys(record: &AuditRecord) -> impl Iterator<Item = (Table, Vec<u8>)> {
    let texts = [
        (Table::AuditActors, record.actor.as_str()),
        (Table::AuditActions, record.action.as_str()),
    ];
    let targets = ancestors(&record.target).map(|text| (Table::AuditTargets, text));
    let id = record.id;
    texts
        .into_iter()
        .chain(targets)
        .map(move |(table, text)| (table, key(&prefix(text), id)))
}

/// Adds a record to the indexes.
pub(super) fn put(tx: &impl WriteRows, record: &AuditRecord) -> Result<(), StoreError> {
    keys(record).try_for_each(|(table, key)| tx.put(table, &key, &[]))
}

/// Removes a record from the indexes.
pub(super) fn erase(tx: &impl WriteRows, record: &AuditRecord) -> Result<(), StoreError> {
    keys(record).try_for_each(|(table, key)| tx.erase(table, &key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_indexed_under_its_ancestors() {
        let of = |target| ancestors(target).collect::<Vec<_>>();
        assert_eq!(of("la"), ["la"]);
        assert_eq!(of("la/alice"), ["la", "la/alice"]);
        assert_eq!(of("a/b/c/d"), ["a", "a/b", "a/b/c"]);
        let slashes = "/".repeat(200);
        assert_eq!(of(&slashes), ["", "/", "//"]);
        assert_eq!(of(""), [""]);
    }
}
