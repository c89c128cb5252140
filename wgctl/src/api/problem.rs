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
    /// The problem in this case, and the next step.
    pub detail: String,
    /// A stable machine-readable name (`name_taken`, `pool_exhausted`, …).
    pub code: String,
    /// The request field that is wrong, as a path (`address_pool[0]`), where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The next step by itself, where `detail` words it as a call of the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<Hint>,
}

/// The two parts of a `detail`, for programs that word the next step in their own terms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Hint {
    /// The first part of `detail`: what was wrong.
    pub reason: String,
    /// The next step, which the rest of `detail` words.
    pub step: NextStep,
}

/// A next step that is a call of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum NextStep {
    /// Log in, again or for the first time.
    LogIn,
    /// Make the peer with a public key of its own and without a preshared key.
    BringOwnKey,
    /// A step of a later release.
    #[serde(other, skip_serializing)]
    #[cfg_attr(feature = "openapi", schemars(skip))]
    Unknown,
}

/// The kind URI of a problem code.
#[must_use]
pub fn problem_kind(code: &str) -> String {
    format!("urn:sentrazone:problem:{code}")
}
