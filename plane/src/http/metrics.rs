//! The HTTP metrics, and the page with the metrics from all modules.
//!
//! Owns the metrics for requests and connections, and the metrics page. The number of series is limited, because the
//! labels are routes as written in the table. It must not use a request's path as a label.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::Mutex;
use wgctl::program::metrics::{Page, seconds, write_once};
use wgctl::protocol::path;

use super::serve::origin::Origin;
use crate::fleet::{Fleet, Refusal};

/// The route label for requests that match no route.
const NO_ROUTE: &str = "none";
const LOGIN: &str = "/api/login";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: Box<str>,
    method: &'static str,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: Box<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LoginLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MessageLabels {
    message: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionLabels {
    listener: &'static str,
}

/// The HTTP metrics. Clones share them.
#[derive(Clone)]
pub(crate) struct HttpMetrics {
    requests: Family<RequestLabels, Counter>,
    took: Family<RouteLabels, Histogram, fn() -> Histogram>,
    logins: Family<LoginLabels, Counter>,
    messages: Family<MessageLabels, Counter>,
    accepted: Family<ConnectionLabels, Counter>,
    open: Family<ConnectionLabels, Gauge>,
    page: Arc<MetricsPage>,
}

/// The metrics page. Only one caller at a time may read it, because reading it is expensive.
struct MetricsPage {
    page: Page,
    per_peer: bool,
    turn: Mutex<()>,
}

impl HttpMetrics {
    pub(crate) fn new(fleet: &Fleet, per_peer: bool) -> Self {
        let mut page = Page::new("plane", env!("CARGO_PKG_VERSION"));
        let registry = page.registry();
        let requests = Family::default();
        let took = Family::new_with_constructor(seconds as fn() -> Histogram);
        let (logins, messages) = (Family::default(), Family::default());
        let (accepted, open) = (Family::default(), Family::default());
        for outcome in ["succeeded", "failed", "throttled"] {
            drop(logins.get_or_create(&LoginLabels { outcome }));
        }
        for message in MESSAGES.iter().map(|(_, _, message)| *message) {
            drop(messages.get_or_create(&MessageLabels { message }));
        }
        for listener in ["tcp", "local"] {
            drop(accepted.get_or_create(&ConnectionLabels { listener }));
            drop(open.get_or_create(&ConnectionLabels { listener }));
        }
        registry.register(
            "sentrazone_http_requests",
            "Requests by route, method and class of the response status",
            Family::clone(&requests),
        );
        registry.register(
            "sentrazone_http_request_duration_seconds",
            "Time from a request's head to its response's head, by route; agents' polls are held for up to a minute",
            Family::clone(&took),
        );
        registry.register(
            "sentrazone_logins",
            "Logins by outcome: succeeded, failed (a wrong password, an unknown or disabled user), throttled",
            Family::clone(&logins),
        );
        registry.register(
            "sentrazone_agent_messages",
            "Messages accepted from agents, by kind",
            Family::clone(&messages),
        );
        registry.register(
            "sentrazone_connections_accepted",
            "Accepted connections, by listener: tcp, or local for the unix socket",
            Family::clone(&accepted),
        );
        registry.register(
            "sentrazone_connections",
            "Open connections, by listener",
            Family::clone(&open),
        );
        fleet.register(registry);
        let page = Arc::new(MetricsPage {
            page,
            per_peer,
            turn: Mutex::new(()),
        });
        Self {
            requests,
            took,
            logins,
            messages,
            accepted,
            open,
            page,
        }
    }

    /// Returns the page with the current values.
    pub(crate) async fn page(&self, fleet: &Fleet) -> Result<String, Refusal> {
        let unreadable = |error: std::fmt::Error| Refusal::Internal(format!("the metrics cannot be written: {error}"));
        let _turn = self.page.turn.lock().await;
        let numbers = fleet.metrics(self.page.per_peer).await?;
        let mut text = self.page.page.text().map_err(unreadable)?;
        write_once(&mut text, numbers).map_err(unreadable)?;
        Ok(text)
    }

    /// Counts an answered request.
    pub(super) fn answered(&self, summary: &RequestSummary, status: StatusCode, took: Duration) {
        let RequestSummary { route, method } = summary;
        self.requests
            .get_or_create(&RequestLabels {
                route: route.clone(),
                method: name(method),
                status: class(status),
            })
            .inc();
        let route = RouteLabels { route: route.clone() };
        self.took.get_or_create(&route).observe(took.as_secs_f64());
        self.count_meaning(&route.route, method, status);
    }

    fn count_meaning(&self, route: &str, method: &Method, status: StatusCode) {
        if route == LOGIN && *method == Method::POST {
            let outcome = match status {
                StatusCode::OK => "succeeded",
                StatusCode::UNAUTHORIZED => "failed",
                StatusCode::TOO_MANY_REQUESTS => "throttled",
                // Other outcomes are not counted as logins.
                _ => return,
            };
            self.logins.get_or_create(&LoginLabels { outcome }).inc();
        }
        if status.is_success() {
            let known = |(of, by, _): &&(&str, Method, &str)| of == &route && by == method;
            if let Some((_, _, message)) = MESSAGES.iter().find(known) {
                self.messages.get_or_create(&MessageLabels { message }).inc();
            }
        }
    }

    /// Counts an accepted connection. It counts as open until the guard is dropped.
    pub(super) fn connected(&self, origin: &Origin) -> OpenConnection {
        let listener = match origin {
            Origin::Tcp(_) => "tcp",
            Origin::Local(_) => "local",
        };
        self.accepted.get_or_create(&ConnectionLabels { listener }).inc();
        let open = self.open.get_or_create_owned(&ConnectionLabels { listener });
        open.inc();
        OpenConnection(open)
    }
}

/// The messages from agents, by route and method.
const MESSAGES: &[(&str, Method, &str)] = &[
    (path::HELLO, Method::POST, "hello"),
    (path::DESIRED, Method::GET, "poll"),
    (path::ADOPTION, Method::POST, "adoption"),
    (path::APPLIED, Method::POST, "applied"),
    (path::DRIFT, Method::POST, "drift"),
    (path::PREKEYS, Method::POST, "prekeys"),
    ("/api/agent/replies/{request}", Method::POST, "reply"),
    (path::REPORT, Method::POST, "report"),
];

/// An open connection.
pub(super) struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The parts of a request that are needed after it has been answered.
pub(super) struct RequestSummary {
    route: Box<str>,
    method: Method,
}

impl RequestSummary {
    pub(super) fn of(request: &Request) -> Self {
        let route = request.extensions().get::<MatchedPath>();
        Self {
            route: route.map_or(NO_ROUTE, MatchedPath::as_str).into(),
            method: request.method().clone(),
        }
    }

    /// Returns true for a change by a person or a program.
    pub(super) fn is_change(&self) -> bool {
        let of_agent = self.route.starts_with("/api/agent/") || *self.route == *path::REPORT;
        !self.method.is_safe() && !of_agent
    }
}

/// Returns the label for a method. Unknown methods share one label, because callers can invent methods.
fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}
