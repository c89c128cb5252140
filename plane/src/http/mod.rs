//! The plane's edge: REST over TCP and over the local socket, one router for both.
//!
//! Owns the table of routes. A resource is a file; what a route needs of its caller is the first
//! thing its handler names (`principal`). It must not hold business rules: those are the fleet's.

mod agent;
mod app;
mod audit;
mod backup;
mod clients;
mod configuration;
mod creation;
mod edge;
mod export;
mod extract;
mod health;
mod history;
mod listener;
mod local;
mod login;
mod metrics;
mod peer;
mod principal;
mod problem;
mod qrcode;
mod servers;
mod session;
mod statuses;
mod users;

use axum::Router;
use axum::routing::{get, patch, post};
use wgctl::protocol::path;

pub(crate) use app::App;
pub use listener::BindError;
pub(crate) use listener::Listener;

fn router(app: App) -> Router {
    let routes = people().merge(agents()).merge(public());
    edge::wrap(routes.fallback(edge::no_such_path), &app).with_state(app)
}

fn public() -> Router<App> {
    Router::new()
        .route("/api/login", post(login::login))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
}

fn people() -> Router<App> {
    Router::new()
        .route("/api/logout", post(session::logout))
        .route("/api/password", post(session::change_password))
        .route("/api/statuses", get(statuses::list))
        .route("/api/history", get(history::list))
        .route("/api/wg-clients/{server}", get(clients::list).post(clients::create))
        .route(
            "/api/wg-clients/{server}/{client}",
            get(clients::show).patch(clients::update).delete(clients::remove),
        )
        .route("/api/wg-clients/{server}/{client}/{action}", post(clients::act))
        .route(
            "/api/wg-clients/{server}/{client}/qrcode",
            get(qrcode::show).post(clients::no_such_action),
        )
        .route(
            "/api/wg-clients/{server}/{client}/configuration",
            get(configuration::show).post(clients::no_such_action),
        )
        .route("/metrics", get(metrics::show))
        .route("/api/audit", get(audit::list))
        .route("/api/audit/export", get(export::csv))
        .route("/api/backup", get(backup::create))
        .route("/api/restore", post(backup::restore))
        .route("/api/servers", get(servers::list).post(servers::create))
        .route(
            "/api/servers/{server}",
            get(servers::show).patch(servers::update).delete(servers::remove),
        )
        .route("/api/servers/{server}/token", post(servers::rotate_token))
        .route("/api/users", get(users::list).post(users::create))
        .route("/api/users/{user}", patch(users::update).delete(users::remove))
}

fn agents() -> Router<App> {
    Router::new()
        .route(path::HELLO, post(agent::hello))
        .route(path::DESIRED, get(agent::desired))
        .route(path::ADOPTION, get(agent::terms).post(agent::adopt))
        .route(path::APPLIED, post(agent::applied))
        .route(path::DRIFT, post(agent::drift))
        .route(path::PREKEYS, post(agent::prekeys))
        .route(&format!("{}/{{request}}", path::REPLIES), post(agent::reply))
        .route(path::REPORT, post(agent::report))
}
