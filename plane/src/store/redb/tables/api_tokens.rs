//! API tokens: records, the hashes they are known by, their names, and when each was last used.

use wgctl::Timestamp;
use wgctl::name::{TokenId, TokenName};

use crate::model::records::TokenRecord;
use crate::store::error::StoreError;
use crate::store::redb::rows::{ChangeRows, Order, RecordRows, Rows, Span, parse};
use crate::store::redb::schema;
use crate::store::redb::schema::fixed;

/// Reading API tokens.
pub(crate) trait ReadTokens {
    async fn token(&self, id: &TokenId) -> Result<Option<TokenRecord>, StoreError>;
    async fn token_by_hash(&self, hash: &[u8; 32]) -> Result<Option<TokenRecord>, StoreError>;
    async fn token_by_name(&self, name: &TokenName) -> Result<Option<TokenRecord>, StoreError>;
    /// All tokens, in no order.
    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError>;
    /// When it was last used, to about a minute.
    async fn token_used_at(&self, id: &TokenId) -> Result<Option<Timestamp>, StoreError>;
}

/// Noting that a token was used: metrics, which a crash may take.
pub(crate) trait RecordTokens: ReadTokens {
    async fn put_token_use(&self, id: &TokenId, at: Timestamp) -> Result<(), StoreError>;
}

/// Writing API tokens.
pub(crate) trait ChangeTokens: ReadTokens {
    /// Writes a token. Its name and its hash never change.
    async fn put_token(&self, token: &TokenRecord) -> Result<(), StoreError>;
    async fn erase_token(&self, token: &TokenRecord) -> Result<(), StoreError>;
}

impl<R: Rows> ReadTokens for R {
    async fn token(&self, id: &TokenId) -> Result<Option<TokenRecord>, StoreError> {
        self.json(schema::TOKENS, id.as_bytes())
    }

    async fn token_by_hash(&self, hash: &[u8; 32]) -> Result<Option<TokenRecord>, StoreError> {
        match self.bytes(schema::TOKEN_HASHES, hash)? {
            Some(id) => self.token(&TokenId::from_bytes(fixed(&id)?)).await,
            None => Ok(None),
        }
    }

    async fn token_by_name(&self, name: &TokenName) -> Result<Option<TokenRecord>, StoreError> {
        match self.bytes(schema::TOKEN_NAMES, name.as_str().as_bytes())? {
            Some(id) => self.token(&TokenId::from_bytes(fixed(&id)?)).await,
            None => Ok(None),
        }
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        let rows = self.some(schema::TOKENS, Span::under(&[]), Order::Up, usize::MAX)?;
        rows.iter().map(|(_, value)| parse(schema::TOKENS, value)).collect()
    }

    async fn token_used_at(&self, id: &TokenId) -> Result<Option<Timestamp>, StoreError> {
        self.json(schema::TOKEN_USES, id.as_bytes())
    }
}

impl<R: RecordRows> RecordTokens for R {
    async fn put_token_use(&self, id: &TokenId, at: Timestamp) -> Result<(), StoreError> {
        self.put_json(schema::TOKEN_USES, id.as_bytes(), &at)
    }
}

impl<R: ChangeRows> ChangeTokens for R {
    async fn put_token(&self, token: &TokenRecord) -> Result<(), StoreError> {
        self.put(schema::TOKEN_HASHES, &token.hash, token.id.as_bytes())?;
        self.put(schema::TOKEN_NAMES, token.name.as_str().as_bytes(), token.id.as_bytes())?;
        self.put_json(schema::TOKENS, token.id.as_bytes(), token)
    }

    async fn erase_token(&self, token: &TokenRecord) -> Result<(), StoreError> {
        self.erase(schema::TOKEN_HASHES, &token.hash)?;
        self.erase(schema::TOKEN_NAMES, token.name.as_str().as_bytes())?;
        self.erase(schema::TOKEN_USES, token.id.as_bytes())?;
        self.erase(schema::TOKENS, token.id.as_bytes())
    }
}
