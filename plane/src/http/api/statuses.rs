//! `GET /api/statuses`: the latest state of every server.

use axum::Json as Answer;
use wgctl::api::Status;

use crate::http::principal::ScopedViewer;
use crate::http::problem::Failure;

pub(super) async fn list(viewer: ScopedViewer) -> Result<Answer<Vec<Status>>, Failure> {
    let mut statuses = viewer.fleet().statuses().await?;
    statuses.retain(|status| viewer.scope.admits(&status.server_id));
    Ok(Answer(statuses))
}
