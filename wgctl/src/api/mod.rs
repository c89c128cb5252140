//! The REST API's bodies, as plane, command and tests share them.
//!
//! Owns field names and types of requests and answers. The original reference is law here: its
//! fields keep their names, types and case (peers camelCase, everything else snake_case); fields
//! may be added. It must not hold behaviour beyond parsing. Request types refuse unknown fields,
//! but for [`Report`], where newer agents may send more.

mod audit;
mod peers;
mod reports;
mod servers;
mod tokens;
mod users;

use serde::{Deserialize, Serialize};
use url::Url;

pub use audit::{
    AuditKey, AuditLine, AuditPublicKey, Changes, Checkpoint, Fault, FieldChange, FormatError, Hash, Head, Pruned,
    Signature, Verification,
};
pub use peers::{Client, ClientPatch, NewClient};
pub use reports::{
    AuditRecord, Counters, Health, HistoryPoint, PastSample, PeerCounters, Report, SAMPLES_AT_ONCE, Status, Transfer,
};
pub use servers::{AgentToken, NewServer, Server, ServerCreated, ServerPatch};
pub use tokens::{ApiToken, ApiTokenCreated, KeyRotated, NewApiToken, TokenRotation};
pub use users::{Login, NewUser, PasswordChange, Role, Session, User, UserPatch};

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

/// Tells an absent field (outer `None`) from one that is null (inner `None`).
fn nullable<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

/// A field that may be absent but not null: to take null for "stays" would be to ignore it silently.
fn given<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// The kind URI of a problem code.
#[must_use]
pub fn problem_kind(code: &str) -> String {
    format!("urn:sentrazone:problem:{code}")
}

/// A plane's address without a trailing slash, as configuration and command line give it.
pub fn base_url(text: &str) -> Result<Url, String> {
    let url =
        Url::parse(text).map_err(|error| format!("{text:?} is not a URL ({error}): write https://HOST[:PORT]"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(format!(
            "{text:?} is not an http or https URL: write https://HOST[:PORT]"
        ));
    }
    Ok(url)
}
