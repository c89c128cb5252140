//! `/api/users…`: the users.
//!
//! Owns the hashing of passwords, so that the fleet never sees a password.

use axum::Json as Answer;
use axum::http::StatusCode;
use axum::response::Response;
use wgctl::api::{NewUser, User, UserPatch};
use wgctl::name::UserId;

use crate::auth::{Password, check_policy};
use crate::fleet::{NewAccount, Refusal, UserChange};
use crate::http::extractors::{Ids, Json};
use crate::http::idempotent_body::Creation;
use crate::http::principal::Keeper;
use crate::http::problem::{Failure, Kind};
use crate::http::response::created;

pub(crate) async fn list(keeper: Keeper) -> Result<Answer<Vec<User>>, Failure> {
    Ok(Answer(keeper.fleet().users().await?))
}

pub(crate) async fn create(keeper: Keeper, Creation { new, once }: Creation<NewUser>) -> Result<Response, Failure> {
    let password = checked(new.password, new.email.as_str())?;
    // The transaction makes the decisive check. This one only avoids an expensive hash.
    if once.is_none() && keeper.fleet().account_by_email(new.email.as_str())?.is_some() {
        return Err(Refusal::UserExists(new.email.to_string()).into());
    }
    let account = NewAccount {
        password_hash: keeper.app.shared().passwords.hash(password).await?,
        email: new.email,
        role: new.role,
    };
    let user = keeper.fleet().create_user(&keeper.caller, account, once).await?;
    Ok(created(format!("/api/users/{}", user.id), Answer(user)))
}

pub(crate) async fn update(
    keeper: Keeper,
    Ids(user): Ids<UserId>,
    Json(patch, ..): Json<UserPatch>,
) -> Result<Answer<User>, Failure> {
    let password_hash = match patch.password {
        None => None,
        Some(password) => {
            let account = keeper.fleet().account(&user)?;
            let email = account.map(|account| account.email.to_string()).unwrap_or_default();
            let password = checked(password, &email)?;
            Some(keeper.app.shared().passwords.hash(password).await?)
        }
    };
    let change = UserChange {
        role: patch.role,
        enabled: patch.enabled,
        password_hash,
    };
    Ok(Answer(keeper.fleet().update_user(&keeper.caller, &user, change).await?))
}

pub(crate) async fn remove(keeper: Keeper, Ids(user): Ids<UserId>) -> Result<StatusCode, Failure> {
    keeper.fleet().remove_user(&keeper.caller, &user).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn checked(password: String, email: &str) -> Result<Password, Failure> {
    let password = Password::new(password);
    check_policy(&password, email).map_err(|reason| Kind::InvalidField.field("password", reason))?;
    Ok(password)
}
