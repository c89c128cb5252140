//! The shared parts of responses.
//!
//! Owns the headers of every response, the `Location` of created objects, the path of a peer, and percent-encoding. It
//! must not know the form of errors: see `problem`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use wgctl::{PeerId, ServerId};

use super::request_id::{self, RequestId};

const A_YEAR: &str = "max-age=31536000";

/// Sets the headers of every response. Over TLS, one of them tells clients to use only TLS in the future.
pub(super) fn set_headers(response: &mut Response, id: RequestId, over_tls: bool) {
    let headers = response.headers_mut();
    if over_tls {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(A_YEAR));
    }
    if let Ok(value) = HeaderValue::try_from(id.to_string()) {
        headers.insert(request_id::HEADER, value);
    }
    for (name, value) in [
        // Nearly every response is meant for one caller only, and some contain secrets.
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Returns a `201 Created` response with `path` as the `Location`.
pub(super) fn created(path: String, body: impl IntoResponse) -> Response {
    let mut response = (StatusCode::CREATED, body).into_response();
    if let Ok(location) = HeaderValue::try_from(path) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// Returns the path of a peer.
pub(super) fn peer_path(server: &ServerId, peer: &PeerId) -> String {
    format!("/api/wg-clients/{server}/{peer}")
}

/// Percent-encodes `text`: every byte that is not an unreserved character of RFC 3986 becomes `%XX`.
pub(super) fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}
