//! The stock of prekeys: keys that an agent generated and sealed for future peers.

use crate::store::transaction::{LossyWritePrekeys, ReadPrekeys};
use std::ops::ControlFlow;

use wgctl::protocol::v1::Prekey;
use wgctl::{PeerId, ServerId};

use crate::store::error::StoreError;
use crate::store::redb::row_key;
use crate::store::redb::rows::{Order, Rows, WriteRows, parse};
use crate::store::table::Table;

impl<R: Rows> ReadPrekeys for R {
    fn next_prekey(&self, server: &ServerId) -> Result<Option<Prekey>, StoreError> {
        let first = self.some(Table::Prekeys, row_key::all(server), Order::Up, 1)?;
        first.first().map(|(_, value)| parse(Table::Prekeys, value)).transpose()
    }

    fn prekey_stock(&self, server: &ServerId) -> Result<u32, StoreError> {
        let mut stock = 0u32;
        self.visit(Table::Prekeys, row_key::all(server), Order::Up, |_, _| {
            stock = stock.saturating_add(1);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(stock)
    }

    fn is_spent(&self, server: &ServerId, id: &PeerId) -> Result<bool, StoreError> {
        let spent = self.look(Table::SpentPrekeys, &row_key::of(server, id.as_bytes()), |_| Ok(()))?;
        Ok(spent.is_some())
    }
}

impl<R: WriteRows> LossyWritePrekeys for R {
    fn put_prekey(&self, server: &ServerId, prekey: &Prekey) -> Result<(), StoreError> {
        self.put_json(Table::Prekeys, &row_key::of(server, prekey.id.as_bytes()), prekey)
    }

    fn take_prekey(&self, server: &ServerId, id: &PeerId) -> Result<(), StoreError> {
        let key = row_key::of(server, id.as_bytes());
        self.put(Table::SpentPrekeys, &key, &[])?;
        self.erase(Table::Prekeys, &key)
    }

    fn erase_prekeys(&self, server: &ServerId) -> Result<(), StoreError> {
        self.erase_all(Table::Prekeys, row_key::all(server))
    }
}
