//! Logging in and out: what a login must know, what is remembered of it, and who must wait.

use std::net::IpAddr;

use wgctl::api::Role;
use wgctl::name::{Email, UserId};

use super::{Caller, Fleet, Refusal};

/// What decides on a login or a session.
#[derive(Clone)]
pub struct Account {
    /// The user.
    pub id: UserId,
    /// What they log in with.
    pub email: Email,
    /// What they may do.
    pub role: Role,
    /// Whether they may log in.
    pub enabled: bool,
    /// A PHC string. Secret.
    pub password_hash: String,
    /// Sessions of another epoch are over.
    pub session_epoch: u64,
}

impl Fleet {
    /// The account behind an email somebody typed; none for an unknown one or no email at all.
    pub async fn account_by_email(&self, email: &str) -> Result<Option<Account>, Refusal> {
        todo!()
    }
    /// The account of a session, at every request: cheap, without a thread hop.
    pub async fn account(&self, id: &UserId) -> Result<Option<Account>, Refusal> {
        todo!()
    }
    /// Whether a login of this email may be tried now: `TooManyRequests` when not. The same for
    /// emails that do not exist.
    pub async fn login_permitted(&self, email: &str) -> Result<(), Refusal> {
        todo!()
    }
    /// Records a login and clears the account's penalty.
    pub async fn login_succeeded(&self, id: &UserId, ip: Option<IpAddr>) -> Result<(), Refusal> {
        todo!()
    }
    /// Records a refused login and lengthens the account's penalty.
    pub async fn login_failed(&self, email: &str, ip: Option<IpAddr>) -> Result<(), Refusal> {
        todo!()
    }
    /// Ends all sessions of a user.
    pub async fn logout(&self, caller: &Caller, id: &UserId) -> Result<(), Refusal> {
        todo!()
    }
}
