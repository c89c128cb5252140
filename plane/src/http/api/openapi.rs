//! `GET /api/openapi.json`: the API described by itself (OpenAPI 3.1).
//!
//! Owns the served document. How it is made of the table of routes is `http::openapi`'s.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse as _, Response};

use super::routes::table;
use crate::http::openapi::document;
use crate::http::principal::Anyone;

/// The same for every plane of this version.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| document(table().operations()).to_string());

/// The OpenAPI document of the API, as JSON.
#[must_use]
pub fn openapi() -> &'static str {
    &DOCUMENT
}

pub(super) async fn show(_: Anyone) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], openapi()).into_response()
}
