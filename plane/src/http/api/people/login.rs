//! `POST /api/login`: exchanges a password for a token.
//!
//! Owns the order of the checks. The order is the same for an unknown email, a wrong password and a disabled user,
//! so that neither the response nor its timing distinguishes them.

use axum::Json as Answer;
use wgctl::api::{Login, Session};

use crate::auth::{Password, is_weak};
use crate::fleet::Refusal;
use crate::http::extractors::Json;
use crate::http::principal::Anyone;
use crate::http::problem::{Failure, Kind};

pub(crate) async fn login(anyone: Anyone, Json(body, ..): Json<Login>) -> Result<Answer<Session>, Failure> {
    let (email, password) = (body.email, Password::new(body.password));
    let (shared, fleet, ip) = (anyone.app.shared(), anyone.fleet(), anyone.address.0);
    if let Some(Err(seconds)) = ip.map(|ip| shared.throttle.check(ip)) {
        let detail = format!("too many logins from this address: try again in {seconds} s");
        return Err(Kind::TooManyRequests.because(detail).retry_after(seconds));
    }
    let _permit = fleet.login_permitted(&email, ip)?;
    let account = fleet.account_by_email(&email)?;
    let stored = account.as_ref().map(|account| account.password_hash.as_str());
    let matches = shared.passwords.verify(password.clone(), stored).await?;
    let Some(account) = account.filter(|account| matches && account.enabled) else {
        fleet.login_failed(&email, ip, anyone.request).await?;
        return Err(Kind::InvalidCredentials.because("check the email and password; an admin can set a new password"));
    };
    let rehashed = match is_weak(&account.password_hash) {
        true => Some(shared.passwords.hash(password).await?),
        false => None,
    };
    fleet.login_succeeded(&account, rehashed, ip, anyone.request).await?;
    let issued = shared.tokens.issue(&account, fleet.now());
    let (token, expires_at) = issued.map_err(|error| Refusal::Internal(error.to_string()))?;
    Ok(Answer(Session { token, expires_at }))
}
