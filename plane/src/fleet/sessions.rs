//! Logging in and out: what a login must know, what is remembered of it, and when a session is over.
//!
//! Owns the account as auth sees it. It must not see a password or a token.

use std::net::IpAddr;

use wgctl::Timestamp;
use wgctl::api::Role;
use wgctl::name::{Email, UserId};

use super::users::no_user;
use super::{Actor, Caller, Fleet, LoginPermit, Refusal, throttle};
use crate::store::prelude::*;
use crate::store::{Action, Changing, Done, Entry, Penalty, UserRecord};

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

impl From<UserRecord> for Account {
    fn from(user: UserRecord) -> Self {
        Self {
            id: user.id,
            email: user.email,
            role: user.role,
            enabled: user.enabled,
            password_hash: user.password_hash,
            session_epoch: user.session_epoch,
        }
    }
}

impl Fleet {
    /// The account behind an email somebody typed; none for an unknown one or no email at all.
    pub async fn account_by_email(&self, email: &str) -> Result<Option<Account>, Refusal> {
        let Ok(email) = email.parse::<Email>() else {
            return Ok(None);
        };
        self.store()
            .read(async |tx| Ok(tx.user_by_email(&email).await?.map(Account::from)))
    }

    /// The account of a session, at every request: cheap, without a thread hop.
    pub async fn account(&self, id: &UserId) -> Result<Option<Account>, Refusal> {
        self.store().read(async |tx| Ok(tx.user(id).await?.map(Account::from)))
    }

    /// Whether a login of this email may be tried now: `TooManyRequests` when not. The same for
    /// emails that do not exist. The permit is to be held until the outcome is recorded.
    pub async fn login_permitted(&self, email: &str) -> Result<LoginPermit, Refusal> {
        let account = throttle::account(email);
        let penalty = self
            .store()
            .read(async |tx| Ok::<_, Refusal>(tx.penalty(&account).await?))?;
        let penalty = penalty.unwrap_or_default();
        throttle::check(&penalty, self.now())?;
        self.shared.logins.begin(account, &penalty)
    }

    /// Records a login and clears the account's penalty.
    pub async fn login_succeeded(&self, id: &UserId, ip: Option<IpAddr>) -> Result<(), Refusal> {
        let account = self.account(id).await?.ok_or_else(|| no_user(id))?;
        let caller = Caller {
            actor: Actor::User {
                id: *id,
                email: account.email,
            },
            ip,
            request: None,
        };
        let (id, now) = (*id, self.now());
        self.change(&caller, async move |tx: &Changing| succeeded(tx, &id, now).await)
            .await
    }

    /// Records a refused login and lengthens the account's penalty.
    pub async fn login_failed(&self, email: &str, ip: Option<IpAddr>) -> Result<(), Refusal> {
        let caller = Caller {
            actor: Actor::Nobody(email.to_owned()),
            ip,
            request: None,
        };
        let (account, now) = (throttle::account(email), self.now());
        let entry = Entry::new(Action::LoginFailed, &caller.actor);
        self.change(&caller, async move |tx: &Changing| {
            failed(tx, &account, entry, now).await
        })
        .await
    }

    /// Ends all sessions of a user.
    pub async fn logout(&self, caller: &Caller, id: &UserId) -> Result<(), Refusal> {
        let id = *id;
        self.change(caller, async move |tx: &Changing| end_sessions(tx, &id).await)
            .await
    }
}

async fn succeeded(tx: &impl Change, id: &UserId, now: Timestamp) -> Result<Done<()>, Refusal> {
    let mut user = tx.user(id).await?.ok_or_else(|| no_user(id))?;
    let account = throttle::account(user.email.as_str());
    user.last_login_at = Some(now);
    tx.put_user(&user).await?;
    tx.clear_penalty(&account).await?;
    Ok(Done::new((), Entry::new(Action::LoginSucceeded, &user.email)))
}

async fn failed(tx: &impl Change, account: &[u8; 32], entry: Entry, now: Timestamp) -> Result<Done<()>, Refusal> {
    let before: Penalty = tx.penalty(account).await?.unwrap_or_default();
    tx.put_penalty(account, &throttle::lengthened(&before, now)).await?;
    Ok(Done::new((), entry))
}

async fn end_sessions(tx: &impl Change, id: &UserId) -> Result<Done<()>, Refusal> {
    let mut user = tx.user(id).await?.ok_or_else(|| no_user(id))?;
    user.session_epoch += 1;
    tx.put_user(&user).await?;
    Ok(Done::new((), Entry::new(Action::Logout, &user.email)))
}
