//! API tokens: their records, the indexes by hash and by name, and the time of each token's last use.

use crate::store::transaction::{LossyWriteTokens, ReadTokens, WriteTokens};
use wgctl::Timestamp;
use wgctl::name::{TokenId, TokenName};

use crate::model::records::TokenRecord;
use crate::store::error::StoreError;
use crate::store::redb::rows::{Order, Rows, Span, WriteRows, parse};
use crate::store::redb::schema::fixed;
use crate::store::table::Table;

impl<R: Rows> ReadTokens for R {
    fn token(&self, id: &TokenId) -> Result<Option<TokenRecord>, StoreError> {
        self.json(Table::ApiTokens, id.as_bytes())
    }

    fn token_by_hash(&self, hash: &[u8; 32]) -> Result<Option<TokenRecord>, StoreError> {
        match self.bytes(Table::ApiTokenHashes, hash)? {
            Some(id) => self.token(&TokenId::from_bytes(fixed(&id)?)),
            None => Ok(None),
        }
    }

    fn token_by_name(&self, name: &TokenName) -> Result<Option<TokenRecord>, StoreError> {
        match self.bytes(Table::ApiTokenNames, name.as_str().as_bytes())? {
            Some(id) => self.token(&TokenId::from_bytes(fixed(&id)?)),
            None => Ok(None),
        }
    }

    fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        let rows = self.some(Table::ApiTokens, Span::under(&[]), Order::Up, usize::MAX)?;
        rows.iter().map(|(_, value)| parse(Table::ApiTokens, value)).collect()
    }

    fn token_used_at(&self, id: &TokenId) -> Result<Option<Timestamp>, StoreError> {
        self.json(Table::ApiTokenUses, id.as_bytes())
    }
}

impl<R: WriteRows> LossyWriteTokens for R {
    fn put_token_use(&self, id: &TokenId, at: Timestamp) -> Result<(), StoreError> {
        self.put_json(Table::ApiTokenUses, id.as_bytes(), &at)
    }
}

impl<R: WriteRows> WriteTokens for R {
    fn put_token(&self, token: &TokenRecord) -> Result<(), StoreError> {
        self.put(Table::ApiTokenHashes, &token.hash, token.id.as_bytes())?;
        self.put(
            Table::ApiTokenNames,
            token.name.as_str().as_bytes(),
            token.id.as_bytes(),
        )?;
        self.put_json(Table::ApiTokens, token.id.as_bytes(), token)
    }

    fn erase_token(&self, token: &TokenRecord) -> Result<(), StoreError> {
        self.erase(Table::ApiTokenHashes, &token.hash)?;
        self.erase(Table::ApiTokenNames, token.name.as_str().as_bytes())?;
        self.erase(Table::ApiTokenUses, token.id.as_bytes())?;
        self.erase(Table::ApiTokens, token.id.as_bytes())
    }
}
