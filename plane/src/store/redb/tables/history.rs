//! History: each row holds one server's data for one hour, packed. Keys begin with the time, so that the history of the
//! whole fleet is read in chronological order.

use crate::store::transaction::{LossyWriteHistory, ReadHistory};
use wgctl::ServerId;

use crate::store::error::StoreError;
use crate::store::redb::rows::{Order, Rows, Span, WriteRows};
use crate::store::table::Table;

fn hour_key(hour: u64, server: &ServerId) -> Vec<u8> {
    [hour.to_be_bytes().as_slice(), server.as_str().as_bytes()].concat()
}

impl<R: Rows> ReadHistory for R {
    fn hour(&self, hour: u64, server: &ServerId) -> Result<Option<Vec<u8>>, StoreError> {
        self.bytes(Table::History, &hour_key(hour, server))
    }

    fn hour_of_all(&self, hour: u64) -> Result<Vec<(ServerId, Vec<u8>)>, StoreError> {
        let span = Span::under(&[])
            .from(hour.to_be_bytes().to_vec())
            .before(hour.saturating_add(1).to_be_bytes().to_vec());
        let rows = self.some(Table::History, span, Order::Up, usize::MAX)?;
        rows.into_iter()
            .map(|(key, packed)| {
                let id = key.get(8..).and_then(|id| std::str::from_utf8(id).ok());
                let id = id.and_then(|id| id.parse().ok());
                let id = id.ok_or_else(|| StoreError::Corrupt("history: not a server id".to_owned()))?;
                Ok((id, packed))
            })
            .collect()
    }
}

impl<R: WriteRows> LossyWriteHistory for R {
    fn put_hour(&self, hour: u64, server: &ServerId, packed: &[u8]) -> Result<(), StoreError> {
        self.put(Table::History, &hour_key(hour, server), packed)
    }

    fn erase_hour(&self, hour: u64, server: &ServerId) -> Result<(), StoreError> {
        self.erase(Table::History, &hour_key(hour, server))
    }

    fn erase_hours_before(&self, hour: u64) -> Result<(), StoreError> {
        let span = Span::under(&[]).before(hour.to_be_bytes().to_vec());
        if self
            .some(
                Table::History,
                Span::under(&[]).before(hour.to_be_bytes().to_vec()),
                Order::Up,
                1,
            )?
            .is_empty()
        {
            return Ok(());
        }
        self.erase_all(Table::History, span)
    }
}
