//! The plane's edge: REST over TCP and over the local socket, one router for both.
//!
//! A resource is a file; what a route needs of its caller is the first thing its handler names
//! (`principal`). The routes with their descriptions are one table (`api::routes`). It must not hold business rules:
//! those are the fleet's.

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

/// The OpenAPI document of the API, as JSON: the same for every plane of this version.
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
