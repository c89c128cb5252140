//! `GET /api/statuses`: the latest state of every server.

use axum::Json as Answer;
use wgctl::api::Status;

use super::principal::Viewer;
use super::problem::Failure;

pub(super) async fn list(viewer: Viewer) -> Result<Answer<Vec<Status>>, Failure> {
    Ok(Answer(viewer.fleet().statuses().await?))
}
