//! `GET /healthz` and `GET /readyz`, for service managers and load balancers.

use axum::Json as Answer;
use wgctl::api::Health;

use crate::http::principal::Anyone;
use crate::http::problem::Failure;

/// Responds whenever the process is running.
pub(super) async fn alive(_: Anyone) -> Answer<Health> {
    ok()
}

/// Responds successfully if changes can be made.
pub(super) async fn ready(anyone: Anyone) -> Result<Answer<Health>, Failure> {
    anyone.fleet().ready().await?;
    Ok(ok())
}

fn ok() -> Answer<Health> {
    let status = "ok".to_owned();
    Answer(Health { status })
}
