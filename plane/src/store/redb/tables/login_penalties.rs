//! Penalties on accounts for failed logins. The key is a hash of the email that was entered (and of a known address),
//! so that unauthenticated input of any length cannot fill the disk.

use crate::store::transaction::{LossyWritePenalties, ReadPenalties, WritePenalties};
use std::ops::ControlFlow;

use wgctl::Timestamp;

use crate::model::records::Penalty;
use crate::store::error::StoreError;
use crate::store::redb::rows::{Order, Rows, Span, WriteRows, parse};
use crate::store::table::Table;

impl<R: Rows> ReadPenalties for R {
    fn penalty(&self, account: &[u8; 32]) -> Result<Option<Penalty>, StoreError> {
        self.json(Table::Penalties, account)
    }
}

impl<R: WriteRows> WritePenalties for R {
    fn clear_penalty(&self, account: &[u8; 32]) -> Result<(), StoreError> {
        self.erase(Table::Penalties, account)
    }
}

impl<R: WriteRows> LossyWritePenalties for R {
    fn put_penalty(&self, account: &[u8; 32], penalty: &Penalty) -> Result<(), StoreError> {
        self.put_json(Table::Penalties, account, penalty)
    }

    fn sweep_penalties(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut old = Vec::new();
        self.visit(Table::Penalties, Span::under(&[]), Order::Up, |key, value| {
            if parse::<Penalty>(Table::Penalties, value)?.last < before {
                old.push(key.to_vec());
            }
            Ok(if old.len() >= limit {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })?;
        for key in &old {
            self.erase(Table::Penalties, key)?;
        }
        Ok(old.len())
    }
}
