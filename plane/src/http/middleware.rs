//! The rules for every request and every response.
//!
//! Owns the caller's address, the log line, the handling of panics, and the rule that every error is
//! sent as a problem report.

use std::any::Any;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument as _;

use super::app::App;
use super::metrics::RequestSummary;
use super::problem::{Failure, Kind, MEDIA_TYPE};
use super::request_id::RequestId;
use super::response::set_headers;
use super::serve::connection_limits::ConnectionTrust;
use super::serve::host_header;
use super::serve::origin::Origin;

/// Wraps `routes` in the middleware layers. The last layer is the outermost.
pub(super) fn wrap(routes: Router<App>, app: &App) -> Router<App> {
    routes
        .layer(from_fn(problems_only))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(app.clone(), receive))
}

/// Refuses requests for paths that do not exist, from any caller.
pub(super) async fn no_such_path() -> Failure {
    Kind::NotFound.because("there is nothing at this path: check its spelling against the API reference")
}

async fn receive(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let id = RequestId::new();
    let summary = RequestSummary::of(&request);
    request.extensions_mut().insert(id);
    if let Some(origin) = request.extensions().get::<Origin>() {
        let caller = origin.caller(request.headers(), &app.shared().trusted_proxies);
        request.extensions_mut().insert(caller);
    }
    let is_local = matches!(request.extensions().get(), Some(Origin::Local(_)));
    let checked = host_header::check(request.extensions().get(), &request, app.shared().limits.max_url);
    let span =
        tracing::info_span!("request", request_id = %id, method = %request.method(), path = request.uri().path());
    let began = Instant::now();
    let trust = request.extensions().get::<ConnectionTrust>().cloned();
    if let Some(connection) = &trust {
        connection.begin_request();
    }
    let mut response = match checked {
        Ok(()) => next.run(request).instrument(span.clone()).await,
        Err(failure) => failure.into_response(),
    };
    if let Some(connection) = &trust {
        connection.end_request();
    }
    let (code, took) = (response.status(), began.elapsed());
    app.shared().metrics.answered(&summary, code, took);
    let (status, milliseconds) = (code.as_u16(), took.as_millis());
    let is_worth_it = code.is_server_error() || (code.is_success() && summary.is_change());
    // Logged inside the span, because not every log format shows a parent span that is only referenced.
    span.in_scope(|| match is_worth_it {
        true => tracing::info!(status, milliseconds, "answered with {status}"),
        false => tracing::debug!(status, milliseconds, "answered with {status}"),
    });
    set_headers(&mut response, id, app.shared().is_secure && !is_local);
    response
}

/// Rewrites the framework's own errors (an unsupported method, a header that is not text) as problem reports.
async fn problems_only(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let media_type = response.headers().get(header::CONTENT_TYPE);
    if !is_error || media_type.is_some_and(|value| value == MEDIA_TYPE) {
        return response;
    }
    let detail = match status {
        // The router adds the Allow header afterwards.
        StatusCode::METHOD_NOT_ALLOWED => "this path does not allow this method: use one from the Allow header",
        status => status.canonical_reason().unwrap_or("the request was refused"),
    };
    Kind::of_status(status).because(detail).into_response()
}

fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!("a handler panicked: {message}");
    Kind::Internal
        .because("the plane failed to handle this request: search its log for this response's X-Request-Id")
        .into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;

    async fn answer(routes: Router) -> Response {
        let routes = routes
            .layer(from_fn(problems_only))
            .layer(CatchPanicLayer::custom(panicked));
        let request = axum::http::Request::get("/").body(Body::empty()).unwrap();
        routes.oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn a_panic_becomes_a_problem_report_without_the_panic_message() {
        let response = answer(Router::new().route("/", get(async || -> () { panic!("row 7 of table x") }))).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()[header::CONTENT_TYPE], MEDIA_TYPE);
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        assert!(!String::from_utf8_lossy(&body).contains("row 7"));
    }

    #[tokio::test]
    async fn an_error_that_is_not_a_problem_report_becomes_one() {
        let response = answer(Router::new().route("/", get(async || (StatusCode::NOT_FOUND, "plain text")))).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()[header::CONTENT_TYPE], MEDIA_TYPE);
    }
}
