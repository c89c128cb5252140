//! User accounts, and their index by email.

use crate::store::transaction::{ReadUsers, WriteUsers};
use wgctl::name::{Email, UserId};

use crate::model::records::UserRecord;
use crate::store::error::StoreError;
use crate::store::redb::rows::{Order, Rows, Span, WriteRows, parse};
use crate::store::redb::schema::fixed;
use crate::store::table::Table;

impl<R: Rows> ReadUsers for R {
    fn user(&self, id: &UserId) -> Result<Option<UserRecord>, StoreError> {
        self.json(Table::Users, id.as_bytes())
    }

    fn user_by_email(&self, email: &Email) -> Result<Option<UserRecord>, StoreError> {
        match self.bytes(Table::UserEmails, email.as_str().as_bytes())? {
            Some(id) => self.user(&UserId::from_bytes(fixed(&id)?)),
            None => Ok(None),
        }
    }

    fn users(&self) -> Result<Vec<UserRecord>, StoreError> {
        let rows = self.some(Table::Users, Span::under(&[]), Order::Up, usize::MAX)?;
        rows.iter().map(|(_, value)| parse(Table::Users, value)).collect()
    }
}

impl<R: WriteRows> WriteUsers for R {
    fn put_user(&self, user: &UserRecord) -> Result<(), StoreError> {
        self.put(Table::UserEmails, user.email.as_str().as_bytes(), user.id.as_bytes())?;
        self.put_json(Table::Users, user.id.as_bytes(), user)
    }

    fn erase_user(&self, user: &UserRecord) -> Result<(), StoreError> {
        self.erase(Table::UserEmails, user.email.as_str().as_bytes())?;
        self.erase(Table::Users, user.id.as_bytes())
    }
}
