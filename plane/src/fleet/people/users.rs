//! User accounts and their roles.
//!
//! Owns the rules for accounts: each email has at most one account, at least one admin stays enabled,
//! and a user's sessions end when the account changes. It must not handle plaintext passwords.

use wgctl::Timestamp;
use wgctl::api::{Role, User};
use wgctl::name::{Email, UserId};

use crate::fleet::idempotency;
use crate::fleet::idempotency::Before;
use crate::fleet::views::api_objects;
use crate::fleet::{Account, Caller, Fleet, Idempotency, Refusal};
use crate::model::caller::{Action, Entry};
use crate::model::records::UserRecord;
use crate::store::DurableWrite;
use crate::store::{Change, Read};

/// A new user. The password is already hashed.
pub struct NewAccount {
    /// The email address used to log in.
    pub email: Email,
    /// The hash of the password, as a PHC string.
    pub password_hash: String,
    /// The role.
    pub role: Role,
}

/// A change to a user. A field that is `None` is left unchanged.
#[derive(Default)]
pub struct UserChange {
    /// The new role.
    pub role: Option<Role>,
    /// True to enable the user, false to disable the user.
    pub enabled: Option<bool>,
    /// The hash of the new password, as a PHC string.
    pub password_hash: Option<String>,
}

pub(super) fn no_user(id: &UserId) -> Refusal {
    Refusal::NotFound {
        what: format!("user {id}"),
    }
}

impl Fleet {
    /// Returns all users, in order of creation.
    pub async fn users(&self) -> Result<Vec<User>, Refusal> {
        let read = |tx: &dyn Read| Ok::<_, Refusal>(tx.users()?);
        let mut users = self.store().scan(read).await?;
        users.sort_by(|a, b| (a.created_at, &a.email).cmp(&(b.created_at, &b.email)));
        Ok(users.into_iter().map(api_objects::user).collect())
    }

    /// Creates a user.
    pub async fn create_user(
        &self,
        caller: &Caller,
        new: NewAccount,
        once: Option<Idempotency>,
    ) -> Result<User, Refusal> {
        let now = self.now();
        self.change(caller, move |tx: &dyn DurableWrite| create(tx, new, once, now))
            .await
    }

    /// Changes a user. Any change ends the user's sessions.
    pub async fn update_user(&self, caller: &Caller, id: &UserId, change: UserChange) -> Result<User, Refusal> {
        let id = *id;
        self.change(caller, move |tx: &dyn DurableWrite| update(tx, &id, change))
            .await
    }

    /// Removes a user.
    pub async fn remove_user(&self, caller: &Caller, id: &UserId) -> Result<(), Refusal> {
        let id = *id;
        self.change(caller, move |tx: &dyn DurableWrite| remove(tx, &id)).await
    }

    /// Changes the caller's own password and ends all of the caller's sessions. `account` is the
    /// account against which the old password was checked. If the account has been changed since then,
    /// the new password is refused.
    pub async fn change_password(
        &self,
        caller: &Caller,
        account: &Account,
        password_hash: String,
    ) -> Result<(), Refusal> {
        let (id, epoch) = (account.id, account.session_epoch);
        let change = move |tx: &dyn DurableWrite| change_password(tx, &id, epoch, password_hash);
        self.change(caller, change).await
    }
}

fn create(
    tx: &dyn DurableWrite,
    new: NewAccount,
    once: Option<Idempotency>,
    now: Timestamp,
) -> Result<Change<User>, Refusal> {
    let first = match idempotency::before(tx, once, now)? {
        Before::Answered(user) => return Ok(Change::none(user)),
        Before::New(first) => first,
    };
    if tx.user_by_email(&new.email)?.is_some() {
        return Err(Refusal::UserExists(new.email.to_string()));
    }
    let record = UserRecord {
        id: UserId::random(),
        email: new.email,
        role: new.role,
        enabled: true,
        password_hash: new.password_hash,
        session_epoch: 1,
        created_at: now,
        last_login_at: None,
        known_addresses: Vec::new(),
    };
    let user = api_objects::user(record.clone());
    let kept = first.seal(&user)?;

    tx.put_user(&record)?;
    kept.write(tx)?;
    let entry = Entry::new(Action::UserCreated, &user.email).made(&record);
    Ok(Change::new(user, entry))
}

fn update(tx: &dyn DurableWrite, id: &UserId, change: UserChange) -> Result<Change<User>, Refusal> {
    let UserChange {
        role,
        enabled,
        password_hash,
    } = change;
    let old = tx.user(id)?.ok_or_else(|| no_user(id))?;
    let mut user = old.clone();
    user.role = role.unwrap_or(old.role);
    user.enabled = enabled.unwrap_or(old.enabled);
    let new_password = password_hash.is_some();
    if let Some(hash) = password_hash {
        user.password_hash = hash;
    }
    if !new_password && (user.role, user.enabled) == (old.role, old.enabled) {
        return Ok(Change::none(api_objects::user(old)));
    }
    if is_admin(&old) && !is_admin(&user) {
        keep_an_admin(tx, &old)?;
    }
    user.session_epoch += 1;
    tx.put_user(&user)?;
    let entry = Entry::new(Action::UserUpdated, &user.email).changed(&old, &user);
    Ok(Change::new(api_objects::user(user), entry))
}

fn remove(tx: &dyn DurableWrite, id: &UserId) -> Result<Change<()>, Refusal> {
    let user = tx.user(id)?.ok_or_else(|| no_user(id))?;
    if is_admin(&user) {
        keep_an_admin(tx, &user)?;
    }
    tx.erase_user(&user)?;
    Ok(Change::new(
        (),
        Entry::new(Action::UserDeleted, &user.email).removed(&user),
    ))
}

fn change_password(
    tx: &dyn DurableWrite,
    id: &UserId,
    epoch: u64,
    password_hash: String,
) -> Result<Change<()>, Refusal> {
    let old = tx.user(id)?.ok_or_else(|| no_user(id))?;
    let mut user = old.clone();
    if user.session_epoch != epoch {
        let detail = "the account was changed or logged out in the meantime: log in again";
        return Err(Refusal::field_value("current_password", detail));
    }
    user.password_hash = password_hash;
    user.session_epoch += 1;
    tx.put_user(&user)?;
    let entry = Entry::new(Action::PasswordChanged, &user.email).changed(&old, &user);
    Ok(Change::new((), entry))
}

fn is_admin(user: &UserRecord) -> bool {
    user.enabled && user.role == Role::Admin
}

/// Refuses if `leaving` is the last enabled admin.
fn keep_an_admin(tx: &dyn Read, leaving: &UserRecord) -> Result<(), Refusal> {
    let users = tx.users()?;
    if users.iter().any(|user| user.id != leaving.id && is_admin(user)) {
        return Ok(());
    }
    Err(Refusal::LastAdmin(leaving.email.to_string()))
}
