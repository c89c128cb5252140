//! `GET /healthz` and `GET /readyz`, for whoever restarts or balances us.

use axum::Json as Answer;
use wgctl::api::Health;

use crate::http::principal::Anyone;
use crate::http::problem::Failure;

/// The process answers.
pub(super) async fn alive(_: Anyone) -> Answer<Health> {
    ok()
}

/// Changes can be made.
pub(super) async fn ready(anyone: Anyone) -> Result<Answer<Health>, Failure> {
    anyone.fleet().ready().await?;
    Ok(ok())
}

fn ok() -> Answer<Health> {
    let status = "ok".to_owned();
    Answer(Health { status })
}
