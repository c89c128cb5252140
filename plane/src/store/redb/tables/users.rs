//! The people with an account.

use wgctl::name::{Email, UserId};

use crate::model::records::UserRecord;
use crate::store::error::StoreError;
use crate::store::redb::rows::{ChangeRows, Order, Rows, Span, parse};
use crate::store::redb::schema;
use crate::store::redb::schema::fixed;

/// Reading users.
pub(crate) trait ReadUsers {
    async fn user(&self, id: &UserId) -> Result<Option<UserRecord>, StoreError>;
    async fn user_by_email(&self, email: &Email) -> Result<Option<UserRecord>, StoreError>;
    /// All users, in no order.
    async fn users(&self) -> Result<Vec<UserRecord>, StoreError>;
}

/// Writing users.
pub(crate) trait ChangeUsers: ReadUsers {
    async fn put_user(&self, user: &UserRecord) -> Result<(), StoreError>;
    async fn erase_user(&self, user: &UserRecord) -> Result<(), StoreError>;
}

impl<R: Rows> ReadUsers for R {
    async fn user(&self, id: &UserId) -> Result<Option<UserRecord>, StoreError> {
        self.json(schema::USERS, id.as_bytes())
    }

    async fn user_by_email(&self, email: &Email) -> Result<Option<UserRecord>, StoreError> {
        match self.bytes(schema::USER_EMAILS, email.as_str().as_bytes())? {
            Some(id) => self.user(&UserId::from_bytes(fixed(&id)?)).await,
            None => Ok(None),
        }
    }

    async fn users(&self) -> Result<Vec<UserRecord>, StoreError> {
        let rows = self.some(schema::USERS, Span::under(&[]), Order::Up, usize::MAX)?;
        rows.iter().map(|(_, value)| parse(schema::USERS, value)).collect()
    }
}

impl<R: ChangeRows> ChangeUsers for R {
    async fn put_user(&self, user: &UserRecord) -> Result<(), StoreError> {
        self.put(schema::USER_EMAILS, user.email.as_str().as_bytes(), user.id.as_bytes())?;
        self.put_json(schema::USERS, user.id.as_bytes(), user)
    }

    async fn erase_user(&self, user: &UserRecord) -> Result<(), StoreError> {
        self.erase(schema::USER_EMAILS, user.email.as_str().as_bytes())?;
        self.erase(schema::USERS, user.id.as_bytes())
    }
}
