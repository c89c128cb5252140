//! The id of a request: in its answer, in the log and in the audit records.
//!
//! Owns the id's type and the header's name. It must not choose what is logged under the id.

use std::fmt;

use axum::http::{Extensions, HeaderName};
use uuid::Uuid;

/// The header that carries the id in every answer.
pub(super) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The id of one request, an extension of the request.
#[derive(Clone, Copy)]
pub(super) struct RequestId(Uuid);

impl RequestId {
    /// A new id.
    pub(super) fn new() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of the request with these extensions; `None` before the middleware has given it one.
pub(super) fn request_id(extensions: &Extensions) -> Option<Uuid> {
    extensions.get::<RequestId>().map(|RequestId(id)| *id)
}
