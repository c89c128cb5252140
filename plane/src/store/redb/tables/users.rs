//! The people with an account.

use crate::store::transaction::{ReadUsers, WriteUsers};
use wgctl::name::{Email, UserId};

use crate::model::records::UserRecord;
use crate::store::error::StoreError;
use crate::store::redb::rows::{Order, Rows, Span, WriteRows, parse};
use crate::store::redb::schema;
use crate::store::redb::schema::fixed;

impl<R: Rows> ReadUsers for R {
    fn user(&self, id: &UserId) -> Result<Option<UserRecord>, StoreError> {
        self.json(schema::USERS, id.as_bytes())
    }

    fn user_by_email(&self, email: &Email) -> Result<Option<UserRecord>, StoreError> {
        match self.bytes(schema::USER_EMAILS, email.as_str().as_bytes())? {
            Some(id) => self.user(&UserId::from_bytes(fixed(&id)?)),
            None => Ok(None),
        }
    }

    fn users(&self) -> Result<Vec<UserRecord>, StoreError> {
        let rows = self.some(schema::USERS, Span::under(&[]), Order::Up, usize::MAX)?;
        rows.iter().map(|(_, value)| parse(schema::USERS, value)).collect()
    }
}

impl<R: WriteRows> WriteUsers for R {
    fn put_user(&self, user: &UserRecord) -> Result<(), StoreError> {
        self.put(schema::USER_EMAILS, user.email.as_str().as_bytes(), user.id.as_bytes())?;
        self.put_json(schema::USERS, user.id.as_bytes(), user)
    }

    fn erase_user(&self, user: &UserRecord) -> Result<(), StoreError> {
        self.erase(schema::USER_EMAILS, user.email.as_str().as_bytes())?;
        self.erase(schema::USERS, user.id.as_bytes())
    }
}
