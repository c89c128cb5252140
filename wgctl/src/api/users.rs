//! Users, their roles and logins.
//!
//! Owns the bodies of `/api/login`, `/api/password` and `/api/users`. What holds a password or a
//! token has no `Debug`.

use serde::{Deserialize, Serialize};

use super::optional::given;
use crate::name::{Email, UserId};
use crate::time::Timestamp;

/// The permissions of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees servers, statuses and history.
    Viewer,
    /// Does everything.
    Admin,
}

/// `POST /api/login`.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The user's email. Any text: an unknown one answers like a wrong password.
    pub email: String,
    /// The password. Secret.
    pub password: String,
}

/// The answer to a login. The token is secret.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Session {
    /// A JWT (HS256), good for 24 hours.
    pub token: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A person (`/api/users`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct User {
    /// The user's id.
    pub id: UserId,
    /// The address to log in with.
    pub email: Email,
    /// Their permissions.
    pub role: Role,
    /// True if they may log in.
    pub enabled: bool,
    /// When they were made.
    pub created_at: Timestamp,
    /// When they last logged in.
    pub last_login_at: Option<Timestamp>,
}

/// `POST /api/users`.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// The address to log in with.
    pub email: Email,
    /// At least 12 characters, at most 1,024 bytes. Secret.
    #[cfg_attr(feature = "openapi", schemars(length(min = 12, max = 1024)))]
    pub password: String,
    /// Their permissions.
    pub role: Role,
}

/// `PATCH /api/users/{id}`.
#[derive(Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct UserPatch {
    /// A new role.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schemars(with = "Role"))]
    pub role: Option<Role>,
    /// Enable or disable.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schemars(with = "bool"))]
    pub enabled: Option<bool>,
    /// A new password, set by an admin. Secret.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schemars(with = "String", length(min = 12, max = 1024)))]
    pub password: Option<String>,
}

/// `POST /api/password`: one's own.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PasswordChange {
    /// The password that is valid now. Secret.
    pub current_password: String,
    /// The one to be. Secret.
    #[cfg_attr(feature = "openapi", schemars(length(min = 12, max = 1024)))]
    pub new_password: String,
}
