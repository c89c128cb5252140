//! Tokens of programs, the agents' tokens' rotation, and the keys that sign sessions.
//!
//! Owns the bodies of `/api/tokens`, `/api/keys` and of a rotation. What holds a token has no `Debug`.

use serde::{Deserialize, Serialize};

use super::optional::given;
use super::users::Role;
use crate::name::{ServerId, TokenId, TokenName};
use crate::time::Timestamp;

/// An API token as lists show it (`/api/tokens`): never the token itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ApiToken {
    /// Its id.
    pub id: TokenId,
    /// Its name in the audit log, after `token:`.
    pub name: TokenName,
    /// Its permissions.
    pub role: Role,
    /// The servers it is for; null for all.
    pub servers: Option<Vec<ServerId>>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The person who made it, as the audit log names them.
    pub created_by: String,
    /// When it ends; null for never.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to about a minute; null before the first time.
    pub last_used_at: Option<Timestamp>,
}

/// `POST /api/tokens`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewApiToken {
    /// Unique among tokens.
    pub name: TokenName,
    /// Its permissions.
    pub role: Role,
    /// The servers it is for. Default all, and what concerns none of them.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub servers: Option<Vec<ServerId>>,
    /// When it ends. Default never.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub expires_at: Option<Timestamp>,
}

/// A new API token and its text, which is shown once.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ApiTokenCreated {
    /// The token's record.
    #[serde(flatten)]
    pub api_token: ApiToken,
    /// Secret.
    pub token: String,
}

/// `POST /api/servers/{id}/token`; the body may be left out.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TokenRotation {
    /// Seconds for which the old token stays valid along with the new one, 0 to 604,800; it dies earlier when the
    /// agent runs with the new one. Default 0: at once.
    #[serde(default)]
    pub grace_seconds: u32,
}

/// `POST /api/keys/rotate`: what signs sessions from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct KeyRotated {
    /// The new key's id, as the sessions' headers name it. It is no secret.
    pub kid: String,
    /// Until when sessions of the key before it are taken, unless they end earlier.
    pub previous_valid_until: Timestamp,
}
