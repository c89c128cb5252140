//! The problem report, which is the API's response to a failed request.
//!
//! Owns its fields. It must not define the codes: they belong to the plane.

use serde::{Deserialize, Serialize};

/// A problem report (RFC 9457, `application/problem+json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Problem {
    /// A stable URI that identifies the kind of problem: `urn:sentrazone:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// A short description of the kind of problem.
    pub title: String,
    /// The HTTP status code of the response.
    pub status: u16,
    /// A description of this particular problem and of the next step.
    pub detail: String,
    /// A stable, machine-readable code (`name_taken`, `pool_exhausted`, …).
    pub code: String,
    /// The path of the invalid request field (such as `address_pool[0]`), if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The next step in machine-readable form, if `detail` describes it as an API call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<Hint>,
}

/// The two parts of a `detail`, for programs that describe the next step in their own terms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Hint {
    /// The first part of `detail`: the reason for the problem.
    pub reason: String,
    /// The next step, which is described by the rest of `detail`.
    pub step: NextStep,
}

/// A next step that is an API call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum NextStep {
    /// Log in, again or for the first time.
    LogIn,
    /// Create the peer with its own public key and without a preshared key.
    BringOwnKey,
    /// A step that only a later release knows.
    #[serde(other, skip_serializing)]
    #[cfg_attr(feature = "openapi", schemars(skip))]
    Unknown,
}

/// Returns the URI for a problem code.
#[must_use]
pub fn problem_kind(code: &str) -> String {
    format!("urn:sentrazone:problem:{code}")
}
