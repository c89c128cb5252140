//! The people who may use the plane, and what they may do.

use wgctl::api::{Role, User};
use wgctl::name::{Email, UserId};

use super::{Caller, Fleet, Idempotency, Refusal};

/// A user to be. The password is hashed already.
pub struct NewAccount {
    /// What they log in with.
    pub email: Email,
    /// A PHC string.
    pub password_hash: String,
    /// What they may do.
    pub role: Role,
}

/// What changes of a user; what is absent stays.
#[derive(Default)]
pub struct UserChange {
    /// A new role.
    pub role: Option<Role>,
    /// Enable or disable.
    pub enabled: Option<bool>,
    /// A new password's PHC string.
    pub password_hash: Option<String>,
}

impl Fleet {
    /// All users, by creation.
    pub async fn users(&self) -> Result<Vec<User>, Refusal> {
        todo!()
    }
    /// Makes a user.
    pub async fn create_user(&self, caller: &Caller, new: NewAccount, once: Option<Idempotency>) -> Result<User, Refusal> {
        todo!()
    }
    /// Changes a user; whatever was changed ends their sessions.
    pub async fn update_user(&self, caller: &Caller, id: &UserId, change: UserChange) -> Result<User, Refusal> {
        todo!()
    }
    /// Removes a user.
    pub async fn remove_user(&self, caller: &Caller, id: &UserId) -> Result<(), Refusal> {
        todo!()
    }
    /// Somebody's own new password; ends all their sessions.
    pub async fn change_password(&self, caller: &Caller, id: &UserId, password_hash: String) -> Result<(), Refusal> {
        todo!()
    }
}
