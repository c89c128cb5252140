//! Raw rows in ordered tables: the interface through which the rest of the store uses redb's transactions.
//!
//! Owns the two kinds of transaction, [`ReadTx`] and [`WriteTx`], and the flag that shows whether a transaction has
//! written anything. It must not know what is in a row.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::{Bound, ControlFlow};
use std::rc::Rc;

use redb::{AccessGuard, ReadOnlyTable, ReadTransaction, ReadableTable, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::disk;
use crate::store::error::StoreError;
use crate::store::table::Table;
use crate::store::write_set::WriteSet;

/// The result of visiting a row: continue or break.
pub(super) type Step = Result<ControlFlow<()>, StoreError>;

/// A range of keys.
pub(in crate::store) struct Span {
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
}

impl Span {
    /// Returns the span of all rows whose key begins with `prefix`, which must not end in 0xff.
    pub(in crate::store) fn under(prefix: &[u8]) -> Self {
        let mut end = prefix.to_vec();
        let to = match end.last_mut() {
            Some(last) => {
                *last = last.saturating_add(1);
                Bound::Excluded(end)
            }
            None => Bound::Unbounded,
        };
        Self {
            from: Bound::Included(prefix.to_vec()),
            to,
        }
    }

    /// Makes the span begin at `key` (inclusive).
    pub(super) fn from(mut self, key: Vec<u8>) -> Self {
        self.from = Bound::Included(key);
        self
    }

    /// Makes the span begin after `key`.
    pub(super) fn after(mut self, key: Vec<u8>) -> Self {
        self.from = Bound::Excluded(key);
        self
    }

    /// Makes the span end at `key` (inclusive).
    pub(super) fn to(mut self, key: Vec<u8>) -> Self {
        self.to = Bound::Included(key);
        self
    }

    /// Makes the span end before `key`.
    pub(super) fn before(mut self, key: Vec<u8>) -> Self {
        self.to = Bound::Excluded(key);
        self
    }

    fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (
            self.from.as_ref().map(Vec::as_slice),
            self.to.as_ref().map(Vec::as_slice),
        )
    }

    /// Returns whether the span cannot contain any key. redb panics if a range ends before it begins.
    fn is_empty(&self) -> bool {
        match (&self.from, &self.to) {
            (Bound::Included(a), Bound::Included(b)) => a > b,
            (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => a >= b,
            _ => false,
        }
    }
}

/// The direction in which a [`Span`] is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Order {
    Up,
    Down,
}

/// A row's key and value.
pub(super) type Row = (Vec<u8>, Vec<u8>);

/// Read access to rows.
pub(in crate::store) trait Rows {
    /// Passes the value of one row to `see`, if the row exists. Returns the result of `see`.
    fn look<T>(
        &self,
        table: Table,
        key: &[u8],
        see: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError>;

    /// Passes the rows of `span` to `see`, until `see` breaks.
    fn visit(
        &self,
        table: Table,
        span: Span,
        order: Order,
        see: impl FnMut(&[u8], &[u8]) -> Step,
    ) -> Result<(), StoreError>;

    /// Returns the value of one row.
    fn bytes(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.look(table, key, |value| Ok(value.to_vec()))
    }

    /// Returns the value of one row, parsed from JSON.
    fn json<T: DeserializeOwned>(&self, table: Table, key: &[u8]) -> Result<Option<T>, StoreError> {
        self.look(table, key, |value| parse(table, value))
    }

    /// Returns at most `limit` rows in a span.
    fn some(&self, table: Table, span: Span, order: Order, limit: usize) -> Result<Vec<Row>, StoreError> {
        let mut found = Vec::new();
        if limit == 0 {
            return Ok(found);
        }
        self.visit(table, span, order, |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            Ok(if found.len() >= limit {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })?;
        Ok(found)
    }
}

/// Write access to rows.
pub(in crate::store) trait WriteRows: Rows {
    /// Returns the id of the request that makes the change, if it is known.
    fn request(&self) -> Option<Uuid>;

    /// Removes all rows from all tables. The caller then writes the rows that replace them.
    fn replace_everything(&self) -> Result<(), StoreError>;

    /// Writes a row.
    fn put(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError>;

    /// Removes a row if it exists.
    fn erase(&self, table: Table, key: &[u8]) -> Result<(), StoreError>;

    /// Removes all rows in a span.
    fn erase_all(&self, table: Table, span: Span) -> Result<(), StoreError>;

    /// Writes a row, with `value` serialized as JSON.
    fn put_json<T: Serialize>(&self, table: Table, key: &[u8], value: &T) -> Result<(), StoreError> {
        let bytes =
            serde_json::to_vec(value).map_err(|error| StoreError::Corrupt(format!("{}: {error}", table.name())))?;
        self.put(table, key, &bytes)
    }
}

pub(super) fn parse<T: DeserializeOwned>(table: Table, value: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|error| StoreError::Corrupt(format!("{}: {error}", table.name())))
}

/// Converts any redb error to the store's error type.
pub(in crate::store) fn storage(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Corrupted(reason) => StoreError::Corrupt(reason),
        redb::Error::Io(error) if disk::is_full(&error) => {
            StoreError::Unavailable(format!("{error}: make room on the disk"))
        }
        other => StoreError::Unavailable(other.to_string()),
    }
}

type OpenTable = Rc<ReadOnlyTable<&'static [u8], &'static [u8]>>;

/// A flag that is set when the disk fails. From then on, redb refuses every operation.
#[derive(Default)]
struct Failure(Cell<bool>);

impl Failure {
    fn note<T>(&self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        if matches!(outcome, Err(StoreError::Unavailable(_))) {
            self.0.set(true);
        }
        outcome
    }
}

/// A read transaction: a view of the database at one moment.
pub(in crate::store) struct ReadTx {
    tx: ReadTransaction,
    open: RefCell<HashMap<Table, OpenTable>>,
    failure: Failure,
}

impl ReadTx {
    pub(in crate::store) fn new(tx: ReadTransaction) -> Self {
        Self {
            tx,
            open: RefCell::default(),
            failure: Failure::default(),
        }
    }

    /// Returns whether the disk failed during this transaction.
    pub(in crate::store) fn has_failed(&self) -> bool {
        self.failure.0.get()
    }

    fn table(&self, table: Table) -> Result<OpenTable, StoreError> {
        if let Some(open) = self.open.borrow().get(&table) {
            return Ok(Rc::clone(open));
        }
        let open = Rc::new(self.tx.open_table(table.definition()).map_err(storage)?);
        self.open.borrow_mut().insert(table, Rc::clone(&open));
        Ok(open)
    }
}

impl Rows for ReadTx {
    fn look<T>(
        &self,
        table: Table,
        key: &[u8],
        see: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.failure
            .note(self.table(table).and_then(|table| look(&*table, key, see)))
    }

    fn visit(
        &self,
        table: Table,
        span: Span,
        order: Order,
        see: impl FnMut(&[u8], &[u8]) -> Step,
    ) -> Result<(), StoreError> {
        self.failure
            .note(self.table(table).and_then(|table| visit(&*table, &span, order, see)))
    }
}

#[cfg(test)]
thread_local! {
    /// The number of rows that this thread has read. The indexes exist to keep this number small.
    pub(in crate::store) static SEEN: Cell<u64> = const { Cell::new(0) };
}

fn look<T>(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &[u8],
    see: impl FnOnce(&[u8]) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    #[cfg(test)]
    SEEN.set(SEEN.get() + 1);
    let row = table.get(key).map_err(storage)?;
    row.map(|row| see(row.value())).transpose()
}

fn visit(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    span: &Span,
    order: Order,
    mut see: impl FnMut(&[u8], &[u8]) -> Step,
) -> Result<(), StoreError> {
    if span.is_empty() {
        return Ok(());
    }
    let mut range = table.range::<&[u8]>(span.bounds()).map_err(storage)?;
    loop {
        let row = match order {
            Order::Up => range.next(),
            Order::Down => range.next_back(),
        };
        let Some(row) = row else { return Ok(()) };
        #[cfg(test)]
        SEEN.set(SEEN.get() + 1);
        let (key, value) = row.map_err(storage)?;
        if see(key.value(), value.value())?.is_break() {
            return Ok(());
        }
    }
}

/// A write transaction, shared by the jobs of a batch.
pub(in crate::store) struct WriteTx {
    tx: WriteTransaction,
    dirty: Cell<bool>,
    request: Cell<Option<Uuid>>,
    writes: RefCell<WriteSet>,
    failure: Failure,
}

impl WriteTx {
    pub(super) fn new(tx: WriteTransaction, writes: WriteSet) -> Self {
        Self {
            tx,
            dirty: Cell::new(false),
            request: Cell::new(None),
            writes: RefCell::new(writes),
            failure: Failure::default(),
        }
    }

    /// Returns whether the disk failed during this transaction.
    pub(super) fn has_failed(&self) -> bool {
        self.failure.0.get()
    }

    fn open_table(&self, table: Table) -> Result<redb::Table<'_, &'static [u8], &'static [u8]>, StoreError> {
        self.failure
            .note(self.tx.open_table(table.definition()).map_err(storage))
    }

    /// Begins a job. The writes that follow belong to `request`.
    pub(super) fn begin(&self, request: Option<Uuid>) {
        self.request.set(request);
    }

    /// Returns whether anything has been written since the last call.
    pub(super) fn take_dirty(&self) -> bool {
        self.dirty.replace(false)
    }

    /// Returns redb's transaction and the write set.
    pub(super) fn into_parts(self) -> (WriteTransaction, WriteSet) {
        (self.tx, self.writes.into_inner())
    }
}

impl Rows for WriteTx {
    fn look<T>(
        &self,
        table: Table,
        key: &[u8],
        see: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.failure.note(look(&self.open_table(table)?, key, see))
    }

    fn visit(
        &self,
        table: Table,
        span: Span,
        order: Order,
        see: impl FnMut(&[u8], &[u8]) -> Step,
    ) -> Result<(), StoreError> {
        self.failure.note(visit(&self.open_table(table)?, &span, order, see))
    }
}

impl WriteRows for WriteTx {
    fn put(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.dirty.set(true);
        let written = self.open_table(table)?.insert(key, value).map(drop).map_err(storage);
        self.failure.note(written)?;
        self.writes.borrow_mut().put(table, key, value);
        Ok(())
    }

    fn erase(&self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.dirty.set(true);
        let mut open = self.open_table(table)?;
        let removed = self.failure.note(open.remove(key).map_err(storage))?;
        let last = removed.as_ref().map(AccessGuard::value);
        self.writes.borrow_mut().erase(table, key, last);
        Ok(())
    }

    fn erase_all(&self, table: Table, span: Span) -> Result<(), StoreError> {
        if span.is_empty() {
            return Ok(());
        }
        self.dirty.set(true);
        let mut open = self.open_table(table)?;
        let mut writes = self.writes.borrow_mut();
        let removed = open.retain_in::<&[u8], _>(span.bounds(), |key, value| {
            writes.erase(table, key, Some(value));
            false
        });
        self.failure.note(removed.map_err(storage))
    }

    fn request(&self) -> Option<Uuid> {
        self.request.get()
    }

    fn replace_everything(&self) -> Result<(), StoreError> {
        self.dirty.set(true);
        self.writes.borrow_mut().replace_everything();
        for table in Table::ALL {
            let deleted = self.tx.delete_table(table.definition()).map_err(storage);
            self.failure.note(deleted)?;
            let opened = self.tx.open_table(table.definition()).map(drop).map_err(storage);
            self.failure.note(opened)?;
        }
        Ok(())
    }
}
