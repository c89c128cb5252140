//! `GET /api/openapi.json`: the API's description of itself (OpenAPI 3.1).

use axum::http::header;
use axum::response::{IntoResponse as _, Response};

use crate::http::principal::Anyone;

pub(super) async fn show(anyone: Anyone) -> Response {
    let document = anyone.app.shared().document;
    ([(header::CONTENT_TYPE, "application/json")], document()).into_response()
}
