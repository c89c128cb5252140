//! The problem report: how the API says no.
//!
//! Owns its fields. The codes are the plane's.

use serde::{Deserialize, Serialize};

/// A problem report (RFC 9457, `application/problem+json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Problem {
    /// A stable URI of the kind of problem: `urn:sentrazone:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in words.
    pub title: String,
    /// The HTTP status, repeated.
    pub status: u16,
    /// What was wrong here and what to do next.
    pub detail: String,
    /// A stable machine-readable name (`name_taken`, `pool_exhausted`, …).
    pub code: String,
    /// The request field that is wrong, as a path (`address_pool[0]`), where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// The kind URI of a problem code.
#[must_use]
pub fn problem_kind(code: &str) -> String {
    format!("urn:sentrazone:problem:{code}")
}
