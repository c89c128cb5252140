//! Logins and logouts: the account against which a login is checked, the recording of logins, and the
//! ending of sessions.
//!
//! Owns the account data that `auth` uses. It must not handle passwords or session tokens.

use std::net::IpAddr;

use uuid::Uuid;
use wgctl::Timestamp;
use wgctl::api::Role;
use wgctl::name::{Email, UserId};

use super::users::no_user;
use crate::fleet::limits::failed_logins;
use crate::fleet::{Actor, Authority, Caller, Fleet, LoginPermit, Refusal};
use crate::model::caller::{Action, Entry};
use crate::model::records::{Penalty, UserRecord};
use crate::store::Change;
use crate::store::{DurableWrite, LossyWrite};

/// The data against which a login or a session is checked.
#[derive(Clone)]
pub struct Account {
    /// The user.
    pub id: UserId,
    /// The email address used to log in.
    pub email: Email,
    /// The role.
    pub role: Role,
    /// True if logins are permitted.
    pub enabled: bool,
    /// The hash of the password, as a PHC string. It is secret.
    pub password_hash: String,
    /// The epoch of valid sessions. Sessions with any other epoch are no longer valid.
    pub session_epoch: u64,
}

impl Account {
    /// Returns this user in the form in which the audit log names actors.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor::User {
            id: self.id,
            email: self.email.clone(),
        }
    }

    /// Returns the authority of a session for this account, for requests that need `role`.
    #[must_use]
    pub const fn authority(&self, role: Role) -> Authority {
        Authority::Session {
            user: self.id,
            epoch: self.session_epoch,
            role,
        }
    }
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
    /// Returns the account with the submitted email, or `None` if the email is unknown or invalid.
    pub fn account_by_email(&self, email: &str) -> Result<Option<Account>, Refusal> {
        let Ok(email) = email.parse::<Email>() else {
            return Ok(None);
        };
        self.store().read(|tx| Ok(tx.user_by_email(&email)?.map(Account::from)))
    }

    /// Returns the account of a session. This is called for every request, so it is cheap and runs on
    /// the caller's thread.
    pub fn account(&self, id: &UserId) -> Result<Option<Account>, Refusal> {
        self.store().read(|tx| Ok(tx.user(id)?.map(Account::from)))
    }

    /// Permits a login with this email from this address, or refuses it with `TooManyRequests`. An
    /// email without an account is treated in the same way. Hold the permit until the outcome has been
    /// recorded.
    pub fn login_permitted(&self, email: &str, ip: Option<IpAddr>) -> Result<LoginPermit, Refusal> {
        let (account, penalty) = self.store().read(|tx| {
            let account = failed_logins::failure_key(tx, email, ip)?;
            Ok::<_, Refusal>((account, tx.penalty(&account)?))
        })?;
        let penalty = penalty.unwrap_or_default();
        failed_logins::check(&penalty, self.now())?;
        self.shared.limits.logins.begin(account, &penalty)
    }

    /// Records a login and clears the account's penalty. `account` is the account against which the
    /// password was checked. If it has been disabled since then, or its password has been changed, the
    /// login is refused. `rehashed` replaces the hash that was checked.
    pub async fn login_succeeded(
        &self,
        account: &Account,
        rehashed: Option<String>,
        ip: Option<IpAddr>,
        request: Option<Uuid>,
    ) -> Result<(), Refusal> {
        let caller = Caller {
            authority: account.authority(Role::Viewer),
            request,
            ..Caller::standing(account.actor(), ip)
        };
        let (id, checked, now) = (account.id, account.password_hash.clone(), self.now());
        let rehashed = rehashed.map(|new| (checked, new));
        let change = move |tx: &dyn DurableWrite| succeeded(tx, &id, rehashed, ip, now);
        self.change(&caller, change).await
    }

    /// Records a refused login and lengthens the account's penalty. In a flood, only the penalty is
    /// recorded, and the audit log gets only a count.
    pub async fn login_failed(&self, email: &str, ip: Option<IpAddr>, request: Option<Uuid>) -> Result<(), Refusal> {
        let caller = Caller {
            request,
            ..Caller::standing(Actor::Nobody(email.to_owned()), ip)
        };
        let (email, now) = (email.to_owned(), self.now());
        if !self.shared.limits.floods.admits(&self.shared.limits.floods.logins(ip)) {
            return self
                .store()
                .record_durably(move |tx: &dyn LossyWrite| {
                    let account = failed_logins::failure_key(tx, &email, ip)?;
                    lengthen(tx, &account, now)
                })
                .await;
        }
        let entry = Entry::new(Action::LoginFailed, &caller.actor);
        self.change(&caller, move |tx: &dyn DurableWrite| {
            let account = failed_logins::failure_key(tx, &email, ip)?;
            failed(tx, &account, entry, now)
        })
        .await
    }

    /// Records that sessions will be signed with the new key `kid`. Call this before the key is used.
    pub async fn signing_key_rotated(&self, caller: &Caller, kid: &str) -> Result<(), Refusal> {
        let entry = Entry::new(Action::SigningKeyRotated, kid);
        self.change(caller, move |_: &dyn DurableWrite| Ok(Change::new((), entry)))
            .await
    }

    /// Ends all sessions of a user.
    pub async fn logout(&self, caller: &Caller, id: &UserId) -> Result<(), Refusal> {
        let id = *id;
        self.change(caller, move |tx: &dyn DurableWrite| end_sessions(tx, &id))
            .await
    }
}

/// Records a login. `rehashed` contains the hash that was checked, and a stronger hash of the same
/// password.
fn succeeded(
    tx: &dyn DurableWrite,
    id: &UserId,
    rehashed: Option<(String, String)>,
    ip: Option<IpAddr>,
    now: Timestamp,
) -> Result<Change<()>, Refusal> {
    let mut user = tx.user(id)?.ok_or_else(|| no_user(id))?;
    let account = failed_logins::account(user.email.as_str());
    if let Some((checked, new)) = rehashed
        && user.password_hash == checked
    {
        user.password_hash = new;
    }
    let failure_key = failed_logins::failure_key(tx, user.email.as_str(), ip)?;
    if let Some(ip) = ip {
        failed_logins::remember(&mut user.known_addresses, ip);
    }
    user.last_login_at = Some(now);
    tx.put_user(&user)?;
    tx.clear_penalty(&account)?;
    tx.clear_penalty(&failure_key)?;
    Ok(Change::new((), Entry::new(Action::LoginSucceeded, &user.email)))
}

fn failed(tx: &dyn DurableWrite, account: &[u8; 32], entry: Entry, now: Timestamp) -> Result<Change<()>, Refusal> {
    lengthen(tx, account, now)?;
    Ok(Change::new((), entry))
}

fn lengthen(tx: &dyn LossyWrite, account: &[u8; 32], now: Timestamp) -> Result<(), Refusal> {
    let before: Penalty = tx.penalty(account)?.unwrap_or_default();
    Ok(tx.put_penalty(account, &failed_logins::lengthened(&before, now))?)
}

fn end_sessions(tx: &dyn DurableWrite, id: &UserId) -> Result<Change<()>, Refusal> {
    let mut user = tx.user(id)?.ok_or_else(|| no_user(id))?;
    user.session_epoch += 1;
    tx.put_user(&user)?;
    Ok(Change::new((), Entry::new(Action::Logout, &user.email)))
}
