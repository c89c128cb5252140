//! The stock of prekeys: keys that an agent made and sealed for peers to come.

use std::ops::ControlFlow;

use wgctl::protocol::v1::Prekey;
use wgctl::{PeerId, ServerId};

use crate::store::error::StoreError;
use crate::store::redb::row_key;
use crate::store::redb::rows::{Order, RecordRows, Rows, parse};
use crate::store::redb::schema;

/// Reading the stock.
pub(crate) trait ReadPrekeys {
    /// The prekey that is taken next.
    async fn next_prekey(&self, server: &ServerId) -> Result<Option<Prekey>, StoreError>;
    async fn prekey_stock(&self, server: &ServerId) -> Result<u32, StoreError>;
    /// Whether it was ever taken, though its peer may be gone.
    async fn is_spent(&self, server: &ServerId, id: &PeerId) -> Result<bool, StoreError>;
}

/// Filling and taking. To fill may be lost in a crash: the agent is asked again. To take is part
/// of a change, and what was filled before is then on disk too.
pub(crate) trait RecordPrekeys: ReadPrekeys {
    async fn put_prekey(&self, server: &ServerId, prekey: &Prekey) -> Result<(), StoreError>;
    /// Takes it out of the stock, for good: a message that is delivered again must not bring it back,
    /// or a device that was removed would share its keys with a new one.
    async fn take_prekey(&self, server: &ServerId, id: &PeerId) -> Result<(), StoreError>;
    /// Throws all away.
    async fn erase_prekeys(&self, server: &ServerId) -> Result<(), StoreError>;
}

impl<R: Rows> ReadPrekeys for R {
    async fn next_prekey(&self, server: &ServerId) -> Result<Option<Prekey>, StoreError> {
        let first = self.some(schema::PREKEYS, row_key::all(server), Order::Up, 1)?;
        first
            .first()
            .map(|(_, value)| parse(schema::PREKEYS, value))
            .transpose()
    }

    async fn prekey_stock(&self, server: &ServerId) -> Result<u32, StoreError> {
        let mut stock = 0u32;
        self.visit(schema::PREKEYS, row_key::all(server), Order::Up, |_, _| {
            stock = stock.saturating_add(1);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(stock)
    }

    async fn is_spent(&self, server: &ServerId, id: &PeerId) -> Result<bool, StoreError> {
        let spent = self.look(schema::SPENT_PREKEYS, &row_key::of(server, id.as_bytes()), |_| Ok(()))?;
        Ok(spent.is_some())
    }
}

impl<R: RecordRows> RecordPrekeys for R {
    async fn put_prekey(&self, server: &ServerId, prekey: &Prekey) -> Result<(), StoreError> {
        self.put_json(schema::PREKEYS, &row_key::of(server, prekey.id.as_bytes()), prekey)
    }

    async fn take_prekey(&self, server: &ServerId, id: &PeerId) -> Result<(), StoreError> {
        let key = row_key::of(server, id.as_bytes());
        self.put(schema::SPENT_PREKEYS, &key, &[])?;
        self.erase(schema::PREKEYS, &key)
    }

    async fn erase_prekeys(&self, server: &ServerId) -> Result<(), StoreError> {
        self.erase_all(schema::PREKEYS, row_key::all(server))
    }
}
