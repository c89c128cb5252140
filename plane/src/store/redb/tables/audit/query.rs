//! Audit log queries, which find the newest matching records without reading the others.
//!
//! Owns the search. Each filter is a sorted set of record numbers. All sets are read together, from the highest number
//! down, and each skips to the position of the others, so that the smallest set determines the cost. Times are found by
//! bisection within a run. A new run begins whenever the clock has been set back.

use std::ops::ControlFlow;

use serde::Deserialize;
use wgctl::Timestamp;
use wgctl::api::AuditRecord;

use super::chain;
use super::index::Index;
use super::number;
use crate::model::audit_chain::DISORDER;
use crate::store::error::StoreError;
use crate::store::redb::rows::{Order, Rows, Span};
use crate::store::table::Table;
use crate::store::transaction::AuditFilter;

/// A sorted set of record numbers.
enum Numbers {
    /// The records in an index.
    Indexed(Index),
    /// Ranges, each with its first and last number (inclusive), in descending order.
    Between(Vec<(u64, u64)>),
}

impl Numbers {
    /// Returns the greatest number that is not above `most`.
    fn at_most(&self, rows: &impl Rows, most: u64) -> Result<Option<u64>, StoreError> {
        match self {
            Self::Indexed(index) => index.at_most(rows, most),
            Self::Between(ranges) => {
                let at = ranges.partition_point(|(first, _)| *first > most);
                Ok(ranges.get(at).map(|(_, last)| most.min(*last)))
            }
        }
    }
}

/// Returns matching records, newest first.
pub(super) fn newest(
    rows: &impl Rows,
    filter: &AuditFilter,
    offset: usize,
    limit: usize,
) -> Result<Vec<AuditRecord>, StoreError> {
    let mut found = Vec::new();
    if limit == 0 {
        return Ok(found);
    }
    let last = chain::read_chain(rows)?.head.id;
    let first = rows
        .json::<wgctl::api::Pruned>(Table::AuditChain, chain::PRUNED)?
        .map_or(1, |stub| stub.id + 1);
    let sets = sets(rows, filter, first, last)?;
    let mut skip = offset as u64;
    let mut next = last;
    if sets.is_empty() {
        // Record numbers have no gaps, so the offset can be subtracted.
        next = last.saturating_sub(skip);
        skip = 0;
    }
    while next >= first
        && let Some(id) = greatest_common(rows, &sets, next)?.filter(|id| *id >= first)
    {
        let record: Option<AuditRecord> = rows.json(Table::Audit, &id.to_be_bytes())?;
        match record.filter(|record| filter.admits(record)) {
            Some(_) if skip > 0 => skip -= 1,
            Some(record) => found.push(record),
            None => {}
        }
        if found.len() >= limit {
            break;
        }
        next = id - 1;
    }
    Ok(found)
}

/// Returns the greatest number that is in all sets and not above `most`.
fn greatest_common(rows: &impl Rows, sets: &[Numbers], most: u64) -> Result<Option<u64>, StoreError> {
    let (mut candidate, mut agreeing) = (most, 0);
    for set in sets.iter().cycle() {
        if agreeing == sets.len() {
            break;
        }
        match set.at_most(rows, candidate)? {
            None => return Ok(None),
            Some(id) if id == candidate => agreeing += 1,
            Some(id) => (candidate, agreeing) = (id, 1),
        }
    }
    Ok(Some(candidate))
}

fn sets(rows: &impl Rows, filter: &AuditFilter, first: u64, last: u64) -> Result<Vec<Numbers>, StoreError> {
    let actor = filter.actor.as_deref().map(|text| Index::of(Table::AuditActors, text));
    let action = filter
        .action
        .as_deref()
        .map(|text| Index::of(Table::AuditActions, text));
    let target = filter.target.as_deref().map(Index::of_target);
    let indexes = [actor, action, target].into_iter().flatten();
    let mut sets: Vec<Numbers> = indexes.map(Numbers::Indexed).collect();
    if filter.since.is_some() || filter.until.is_some() {
        sets.push(Numbers::Between(between(rows, filter, first, last)?));
    }
    Ok(sets)
}

/// Returns ranges that contain all records within the filter's time range. They may also contain other records.
fn between(rows: &impl Rows, filter: &AuditFilter, first: u64, last: u64) -> Result<Vec<(u64, u64)>, StoreError> {
    let mut begins = vec![first];
    let later = Span::under(&[]).after(first.to_be_bytes().to_vec());
    rows.visit(Table::AuditRuns, later, Order::Up, |key, _| {
        begins.push(number(key));
        Ok(ControlFlow::Continue(()))
    })?;
    let mut ranges = Vec::new();
    let mut end = last + 1;
    for begin in begins.into_iter().rev() {
        // Within a run, no record is older than an earlier record by more than `DISORDER`.
        let from = match filter.since {
            Some(since) => bisect(begin, end, |id| {
                Ok(time(rows, id)?.is_some_and(|at| at.after(DISORDER) < since))
            })?,
            None => begin,
        };
        let to = match filter.until {
            Some(until) => bisect(begin, end, |id| {
                Ok(time(rows, id)?.is_none_or(|at| at.before(DISORDER) < until))
            })?,
            None => end,
        };
        if from < to {
            ranges.push((from, to - 1));
        }
        end = begin;
    }
    Ok(ranges)
}

/// Bisects the numbers from `low` to `high` (exclusive). Returns a number `n` such that `passed(n - 1)` is true unless
/// `n` is `low`, and `passed(n)` is false unless `n` is `high`.
fn bisect(mut low: u64, mut high: u64, passed: impl Fn(u64) -> Result<bool, StoreError>) -> Result<u64, StoreError> {
    while low < high {
        let middle = low + (high - low) / 2;
        if passed(middle)? {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

#[derive(Deserialize)]
struct CreationTime {
    created_at: Timestamp,
}

fn time(rows: &impl Rows, id: u64) -> Result<Option<Timestamp>, StoreError> {
    let record: Option<CreationTime> = rows.json(Table::Audit, &id.to_be_bytes())?;
    Ok(record.map(|record| record.created_at))
}
