//! Rows of bytes in ordered tables: all that the rest of the store sees of redb's transactions.
//!
//! Owns the three kinds of transaction (reading, recording metrics, changing) and the mark that
//! one has written. It must not know what is in a row.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::{Bound, ControlFlow};
use std::rc::Rc;

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::store::error::StoreError;
use crate::store::table::Table;
use crate::store::write_set::WriteSet;

/// What a visitor of rows answers: go on, or enough.
pub(super) type Step = Result<ControlFlow<()>, StoreError>;

/// From which key to which; see [`Span`]'s makers.
pub(crate) struct Span {
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
}

impl Span {
    /// All rows whose key begins with `prefix`, which must not end in 0xff.
    pub(crate) fn under(prefix: &[u8]) -> Self {
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

    /// From `key` on (included).
    pub(super) fn from(mut self, key: Vec<u8>) -> Self {
        self.from = Bound::Included(key);
        self
    }

    /// What comes after `key`.
    pub(super) fn after(mut self, key: Vec<u8>) -> Self {
        self.from = Bound::Excluded(key);
        self
    }

    /// Up to `key` (included).
    pub(super) fn to(mut self, key: Vec<u8>) -> Self {
        self.to = Bound::Included(key);
        self
    }

    /// Before `key`.
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

    /// redb panics at a range that ends before it begins.
    fn is_empty(&self) -> bool {
        match (&self.from, &self.to) {
            (Bound::Included(a), Bound::Included(b)) => a > b,
            (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => a >= b,
            _ => false,
        }
    }
}

/// The way through a [`Span`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Up,
    Down,
}

/// A row's key and value.
pub(super) type Row = (Vec<u8>, Vec<u8>);

/// Reads rows.
pub(crate) trait Rows {
    /// Hands one row to `see`, if it exists.
    fn look<T>(
        &self,
        table: Table,
        key: &[u8],
        see: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError>;

    /// Hands the rows of `span` to `see`, until it has enough.
    fn visit(
        &self,
        table: Table,
        span: Span,
        order: Order,
        see: impl FnMut(&[u8], &[u8]) -> Step,
    ) -> Result<(), StoreError>;

    /// One row's bytes.
    fn bytes(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.look(table, key, |value| Ok(value.to_vec()))
    }

    /// One row of JSON.
    fn json<T: DeserializeOwned>(&self, table: Table, key: &[u8]) -> Result<Option<T>, StoreError> {
        self.look(table, key, |value| parse(table, value))
    }

    /// At most `limit` keys and values of a span.
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

/// Writes rows.
pub(crate) trait WriteRows: Rows {
    /// The request that the change is part of.
    fn request(&self) -> Option<Uuid>;

    /// Removes all rows of all tables, to be followed by those that replace them.
    fn replace_everything(&self) -> Result<(), StoreError>;

    /// Writes a row.
    fn put(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError>;

    /// Removes a row, which need not exist.
    fn erase(&self, table: Table, key: &[u8]) -> Result<(), StoreError>;

    /// Removes all rows of a span.
    fn erase_all(&self, table: Table, span: Span) -> Result<(), StoreError>;

    /// Writes a row of JSON.
    fn put_json<T: Serialize>(&self, table: Table, key: &[u8], value: &T) -> Result<(), StoreError> {
        let bytes =
            serde_json::to_vec(value).map_err(|error| StoreError::Corrupt(format!("{}: {error}", table.name())))?;
        self.put(table, key, &bytes)
    }
}

pub(super) fn parse<T: DeserializeOwned>(table: Table, value: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|error| StoreError::Corrupt(format!("{}: {error}", table.name())))
}

/// Any of redb's errors.
pub(crate) fn storage(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Corrupted(reason) => StoreError::Corrupt(reason),
        other => StoreError::Unavailable(other.to_string()),
    }
}

type OpenTable = Rc<ReadOnlyTable<&'static [u8], &'static [u8]>>;

/// The mark that the disk failed: redb refuses everything from then on.
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

/// A view of one moment.
pub(crate) struct ReadTx {
    tx: ReadTransaction,
    open: RefCell<HashMap<Table, OpenTable>>,
    failure: Failure,
}

impl ReadTx {
    pub(crate) fn new(tx: ReadTransaction) -> Self {
        Self {
            tx,
            open: RefCell::default(),
            failure: Failure::default(),
        }
    }

    /// Whether the disk failed under it.
    pub(crate) fn has_failed(&self) -> bool {
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
    /// How many rows this thread has seen: what an index is for.
    pub(crate) static SEEN: Cell<u64> = const { Cell::new(0) };
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

/// A change under way, one of a batch.
pub(crate) struct WriteTx {
    tx: WriteTransaction,
    dirty: Cell<bool>,
    request: Cell<Option<Uuid>>,
    writes: RefCell<WriteSet>,
    failure: Failure,
}

impl WriteTx {
    pub(super) fn new(tx: WriteTransaction) -> Self {
        Self {
            tx,
            dirty: Cell::new(false),
            request: Cell::new(None),
            writes: RefCell::default(),
            failure: Failure::default(),
        }
    }

    /// Whether the disk failed under it.
    pub(super) fn has_failed(&self) -> bool {
        self.failure.0.get()
    }

    fn open_table(&self, table: Table) -> Result<redb::Table<'_, &'static [u8], &'static [u8]>, StoreError> {
        self.failure
            .note(self.tx.open_table(table.definition()).map_err(storage))
    }

    /// What comes now is part of this request.
    pub(super) fn begin(&self, request: Option<Uuid>) {
        self.request.set(request);
    }

    /// Whether something was written since this was last asked.
    pub(super) fn take_dirty(&self) -> bool {
        self.dirty.replace(false)
    }

    /// The transaction itself, and what was written in it.
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
        let removed = open
            .remove(key)
            .map(|row| row.map(|row| row.value().to_vec()))
            .map_err(storage);
        let last = self.failure.note(removed)?;
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
            writes.erase(table, key, Some(value.to_vec()));
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
