//! What failed logins cost an account. Accounts are known by the hash of what was typed: text of
//! any length, by anybody, must not fill the disk.

use std::ops::ControlFlow;

use wgctl::Timestamp;

use crate::model::records::Penalty;
use crate::store::error::StoreError;
use crate::store::redb::rows::{ChangeRows, Order, RecordRows, Rows, Span, parse};
use crate::store::redb::schema;

/// Reading penalties.
pub(crate) trait ReadPenalties {
    async fn penalty(&self, account: &[u8; 32]) -> Result<Option<Penalty>, StoreError>;
}

/// Writing penalties, and forgetting those that are outlived; a crash may bring some back.
pub(crate) trait RecordPenalties: ReadPenalties {
    async fn put_penalty(&self, account: &[u8; 32], penalty: &Penalty) -> Result<(), StoreError>;
    /// Removes at most `limit` penalties whose last failure was before `before`. Says how many.
    async fn sweep_penalties(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;
}

/// Lifting penalties.
pub(crate) trait ChangePenalties: ReadPenalties {
    async fn clear_penalty(&self, account: &[u8; 32]) -> Result<(), StoreError>;
}

impl<R: Rows> ReadPenalties for R {
    async fn penalty(&self, account: &[u8; 32]) -> Result<Option<Penalty>, StoreError> {
        self.json(schema::PENALTIES, account)
    }
}

impl<R: ChangeRows> ChangePenalties for R {
    async fn clear_penalty(&self, account: &[u8; 32]) -> Result<(), StoreError> {
        self.erase(schema::PENALTIES, account)
    }
}

impl<R: RecordRows> RecordPenalties for R {
    async fn put_penalty(&self, account: &[u8; 32], penalty: &Penalty) -> Result<(), StoreError> {
        self.put_json(schema::PENALTIES, account, penalty)
    }

    async fn sweep_penalties(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut old = Vec::new();
        self.visit(schema::PENALTIES, Span::under(&[]), Order::Up, |key, value| {
            if parse::<Penalty>(schema::PENALTIES, value)?.last < before {
                old.push(key.to_vec());
            }
            Ok(if old.len() >= limit {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })?;
        for key in &old {
            self.erase(schema::PENALTIES, key)?;
        }
        Ok(old.len())
    }
}
