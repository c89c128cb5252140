//! The REST API over TCP and over the local socket, with one router for both.
//!
//! Owns the HTTP side of the plane. Each resource has a file. The first parameter of every handler is the permission
//! that its caller needs (`principal`). The routes and their descriptions form one table (`api::routes`). It must not
//! contain business rules: those belong to the fleet.

mod api;
mod app;
mod extractors;
mod idempotent_body;
mod metrics;
mod middleware;
mod openapi;
mod principal;
mod problem;
mod request_id;
mod response;
mod serve;

use std::sync::LazyLock;

use axum::Router;

pub(crate) use app::App;
pub use serve::listener::BindError;
pub(crate) use serve::listener::Listener;

/// Returns the OpenAPI document of the API as JSON. It is the same for every plane of this version.
#[must_use]
pub fn openapi() -> &'static str {
    static DOCUMENT: LazyLock<String> =
        LazyLock::new(|| openapi::document(api::routes::table().operations()).to_string());
    &DOCUMENT
}

fn router(app: App) -> Router {
    let routes = api::routes::table().into_router();
    middleware::wrap(routes.fallback(middleware::no_such_path), &app).with_state(app)
}
