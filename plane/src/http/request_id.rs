//! The id of a request, which appears in its response, in the log and in the audit records.
//!
//! Owns the id's type and the header's name. It must not decide what is logged under the id.

use std::fmt;

use axum::http::{Extensions, HeaderName};
use uuid::Uuid;

/// The header that carries the id in every response.
pub(super) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The id of one request, stored as an extension of the request.
#[derive(Clone, Copy)]
pub(super) struct RequestId(Uuid);

impl RequestId {
    /// Returns a new id.
    pub(super) fn new() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Returns the id of the request with these extensions, or `None` before the middleware has assigned one.
pub(super) fn request_id(extensions: &Extensions) -> Option<Uuid> {
    extensions.get::<RequestId>().map(|RequestId(id)| *id)
}
