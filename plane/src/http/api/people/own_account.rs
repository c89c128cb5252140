//! `POST /api/logout` and `POST /api/password`: the caller's own sessions and password.

use axum::http::StatusCode;
use wgctl::api::PasswordChange;

use crate::auth::{Password, check_policy};
use crate::http::extractors::Json;
use crate::http::principal::Person;
use crate::http::problem::{Failure, Kind};

/// Ends all of the caller's sessions.
pub(crate) async fn logout(person: Person) -> Result<StatusCode, Failure> {
    person.fleet().logout(&person.caller, &person.account.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes the caller's password. A stolen token alone must not be enough to take over the account: the current
/// password is required, and wrong passwords count as failed logins.
pub(crate) async fn change_password(
    person: Person,
    Json(body, ..): Json<PasswordChange>,
) -> Result<StatusCode, Failure> {
    let (current, new) = (Password::new(body.current_password), Password::new(body.new_password));
    let (fleet, account) = (person.fleet(), &person.account);
    let passwords = &person.app.shared().passwords;
    let email = account.email.as_str();
    check_policy(&new, email).map_err(|reason| Kind::InvalidField.field("new_password", reason))?;
    let _permit = fleet.login_permitted(email, person.caller.ip)?;
    if !passwords.verify(current, Some(&account.password_hash)).await? {
        fleet
            .login_failed(email, person.caller.ip, person.caller.request)
            .await?;
        return Err(Kind::InvalidField.field("current_password", "this is not your current password"));
    }
    let hash = passwords.hash(new).await?;
    fleet.change_password(&person.caller, account, hash).await?;
    Ok(StatusCode::NO_CONTENT)
}
