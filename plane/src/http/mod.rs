//! The plane's edge: REST over TCP and over the local socket, one router for both.
//!
//! A resource is a file; what a route needs of its caller is the first thing its handler names
//! (`principal`). The routes with their descriptions are one table (`routes`). It must not hold business rules: those are the fleet's.

mod agent;
mod app;
mod audit;
mod backup;
mod bodies;
mod clients;
mod configuration;
mod connection;
mod creation;
mod edge;
mod export;
mod extract;
mod health;
mod history;
mod host;
mod keys;
mod listener;
mod local;
mod login;
mod metrics;
mod openapi;
mod pace;
mod peer;
mod principal;
mod problem;
mod qrcode;
mod routes;
mod servers;
mod session;
mod slots;
mod statuses;
mod tokens;
mod unread;
mod users;

use axum::Router;

pub(crate) use app::App;
pub use listener::BindError;
pub(crate) use listener::Listener;
pub use openapi::openapi;

fn router(app: App) -> Router {
    let routes = routes::table().into_router();
    edge::wrap(routes.fallback(edge::no_such_path), &app).with_state(app)
}
