//! `GET /metrics`: the page with all metrics, for viewers.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use wgctl::program::metrics::CONTENT_TYPE;

use crate::http::principal::Viewer;
use crate::http::problem::Failure;

pub(super) async fn show(viewer: Viewer) -> Result<Response, Failure> {
    let text = viewer.app.shared().metrics.page(viewer.fleet()).await?;
    let media_type = HeaderValue::from_static(CONTENT_TYPE);
    Ok(([(header::CONTENT_TYPE, media_type)], text).into_response())
}
