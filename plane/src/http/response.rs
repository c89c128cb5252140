//! Parts that answers share.
//!
//! Owns the headers of every answer, the `Location` of what was created, the path of a peer, and percent encoding. It
//! must not know how an error looks: see `problem`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use wgctl::{PeerId, ServerId};

use super::request_id::{self, RequestId};

const A_YEAR: &str = "max-age=31536000";

/// The headers of every answer. Over TLS, callers are told to keep to it.
pub(super) fn set_headers(response: &mut Response, id: RequestId, over_tls: bool) {
    let headers = response.headers_mut();
    if over_tls {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(A_YEAR));
    }
    if let Ok(value) = HeaderValue::try_from(id.to_string()) {
        headers.insert(request_id::HEADER, value);
    }
    for (name, value) in [
        // Nearly every answer is somebody's alone, and some are secret.
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

/// `201 Created` with `path` as the `Location`.
pub(super) fn created(path: String, body: impl IntoResponse) -> Response {
    let mut response = (StatusCode::CREATED, body).into_response();
    if let Ok(location) = HeaderValue::try_from(path) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// The path of a peer.
pub(super) fn peer_path(server: &ServerId, peer: &PeerId) -> String {
    format!("/api/wg-clients/{server}/{peer}")
}

/// RFC 3986's unreserved characters as they are, every other byte as `%XX`.
pub(super) fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}
