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

use axum::Router;

pub use api::openapi::openapi;
pub(crate) use app::App;
pub use serve::listener::BindError;
pub(crate) use serve::listener::Listener;

fn router(app: App) -> Router {
    let routes = api::routes::table().into_router();
    middleware::wrap(routes.fallback(middleware::no_such_path), &app).with_state(app)
}
