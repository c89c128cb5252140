//! API tokens for programs, the rotation of agent tokens, and the keys that sign sessions.
//!
//! Owns the bodies of `/api/tokens`, `/api/keys` and of token rotation, and the prefixes by which tokens are
//! recognized. Types that contain a token must not implement `Debug`.

use serde::{Deserialize, Serialize};

use super::optional::given;
use super::users::Role;
use crate::name::{ServerId, TokenId, TokenName};
use crate::time::Timestamp;

/// The prefix of agents' tokens.
pub const AGENT_TOKEN_PREFIX: &str = "szagent_";

/// The prefix of API tokens.
pub const API_TOKEN_PREFIX: &str = "szapi_";

/// An API token's record (`/api/tokens`), without the token itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ApiToken {
    /// Its id.
    pub id: TokenId,
    /// Its name, which the audit log shows after `token:`.
    pub name: TokenName,
    /// Its permissions.
    pub role: Role,
    /// The servers for which it is valid; null for all.
    pub servers: Option<Vec<ServerId>>,
    /// The time at which it was created.
    pub created_at: Timestamp,
    /// The person who created it, in the form in which the audit log names actors.
    pub created_by: String,
    /// The time at which it expires; null for never.
    pub expires_at: Option<Timestamp>,
    /// The time of its last use, accurate to about a minute; null if it has never been used.
    pub last_used_at: Option<Timestamp>,
}

/// A new API token (`POST /api/tokens`).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewApiToken {
    /// Its name, unique among tokens.
    pub name: TokenName,
    /// Its permissions.
    pub role: Role,
    /// The servers for which it is valid. Default: all servers, and everything that belongs to no server.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub servers: Option<Vec<ServerId>>,
    /// The time at which it expires. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub expires_at: Option<Timestamp>,
}

/// A new API token and its text, which is shown only once.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ApiTokenCreated {
    /// The token's record.
    #[serde(flatten)]
    pub api_token: ApiToken,
    /// The token itself, which is secret.
    pub token: String,
}

/// The body of `POST /api/servers/{id}/token`, which may be omitted.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TokenRotation {
    /// The number of seconds for which the old token remains valid along with the new one, from 0 to 604,800. It
    /// becomes invalid earlier if the agent uses the new one. Default: 0, which invalidates it immediately.
    #[serde(default)]
    pub grace_seconds: u32,
}

/// The outcome of a rotation of the key that signs sessions (`POST /api/keys/rotate`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct KeyRotated {
    /// The id of the new key, as it appears in the headers of session tokens. It is not secret.
    pub kid: String,
    /// The time until which sessions that are signed with the previous key are accepted, unless they expire
    /// earlier.
    pub previous_valid_until: Timestamp,
}
