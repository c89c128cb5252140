//! `/api/users…`: the people.
//!
//! Owns turning a password into its hash; the fleet never sees a password.

use axum::Json as Answer;
use axum::http::StatusCode;
use axum::response::Response;
use wgctl::api::{NewUser, User, UserPatch};
use wgctl::name::UserId;
use zeroize::Zeroizing;

use super::creation::Creation;
use super::edge::created;
use super::extract::{Ids, Json};
use super::principal::Admin;
use super::problem::{Failure, Kind};
use crate::auth::check_policy;
use crate::fleet::{NewAccount, UserChange};

pub(super) async fn list(admin: Admin) -> Result<Answer<Vec<User>>, Failure> {
    Ok(Answer(admin.fleet().users().await?))
}

pub(super) async fn create(admin: Admin, Creation { new, once }: Creation<NewUser>) -> Result<Response, Failure> {
    let account = NewAccount {
        password_hash: hashed(&admin, Zeroizing::new(new.password), new.email.as_str()).await?,
        email: new.email,
        role: new.role,
    };
    let user = admin.fleet().create_user(&admin.caller, account, once).await?;
    Ok(created(format!("/api/users/{}", user.id), Answer(user)))
}

pub(super) async fn update(
    admin: Admin,
    Ids(user): Ids<UserId>,
    Json(patch): Json<UserPatch>,
) -> Result<Answer<User>, Failure> {
    let password_hash = match patch.password {
        None => None,
        Some(password) => {
            let password = Zeroizing::new(password);
            let account = admin.fleet().account(&user).await?;
            let email = account.map(|account| account.email.to_string()).unwrap_or_default();
            Some(hashed(&admin, password, &email).await?)
        }
    };
    let change = UserChange {
        role: patch.role,
        enabled: patch.enabled,
        password_hash,
    };
    Ok(Answer(admin.fleet().update_user(&admin.caller, &user, change).await?))
}

pub(super) async fn remove(admin: Admin, Ids(user): Ids<UserId>) -> Result<StatusCode, Failure> {
    admin.fleet().remove_user(&admin.caller, &user).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn hashed(admin: &Admin, password: Zeroizing<String>, email: &str) -> Result<String, Failure> {
    check_policy(&password, email).map_err(|reason| Kind::InvalidField.field("password", reason))?;
    Ok(admin.app.shared().passwords.hash(password).await?)
}
