//! Stored responses to requests that create something, so that a repeated request gets the same response.

use crate::store::transaction::{LossyWriteAnswers, ReadAnswers, WriteAnswers};
use wgctl::Timestamp;

use crate::model::records::Answer;
use crate::store::error::StoreError;
use crate::store::redb::row_key;
use crate::store::redb::rows::{Order, Rows, Span, WriteRows};
use crate::store::table::Table;

/// Encodes a time for use in a key. Times before 1970 are encoded as 1970.
fn moment(at: Timestamp) -> [u8; 8] {
    u64::try_from(at.unix()).unwrap_or(0).to_be_bytes()
}

fn time_key(at: Timestamp, scope: &[u8; 32]) -> Vec<u8> {
    [moment(at).as_slice(), scope].concat()
}

impl<R: Rows> ReadAnswers for R {
    fn answer(&self, scope: &[u8; 32]) -> Result<Option<Answer>, StoreError> {
        self.json(Table::Answers, scope)
    }
}

impl<R: WriteRows> WriteAnswers for R {
    fn put_answer(&self, scope: &[u8; 32], answer: &Answer, old: Option<&Answer>) -> Result<(), StoreError> {
        if let Some(old) = old {
            self.erase(Table::AnswerTimes, &time_key(old.at, scope))?;
        }
        self.put(Table::AnswerTimes, &time_key(answer.at, scope), &[])?;
        self.put_json(Table::Answers, scope, answer)
    }
}

impl<R: WriteRows> LossyWriteAnswers for R {
    fn sweep_answers(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let span = Span::under(&[]).before(moment(before).to_vec());
        let old = self.some(Table::AnswerTimes, span, Order::Up, limit)?;
        for (key, _) in &old {
            self.erase(Table::Answers, &row_key::tail::<32>(key))?;
            self.erase(Table::AnswerTimes, key)?;
        }
        Ok(old.len())
    }
}
