//! Users, their roles and logins.
//!
//! Owns the bodies of `/api/login`, `/api/password` and `/api/users`. Types that contain a password or a
//! token must not implement `Debug`.

use serde::{Deserialize, Serialize};

use super::optional::given;
use crate::name::{Email, UserId};
use crate::time::Timestamp;

/// The permissions of a user or an API token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May view servers, statuses and history.
    Viewer,
    /// May do everything.
    Admin,
}

/// The credentials of a login (`POST /api/login`).
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The user's email address. Any text is accepted: an unknown address gets the same response as a wrong
    /// password.
    pub email: String,
    /// The password. Secret.
    pub password: String,
}

/// The response to a login. The token is secret.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Session {
    /// A JWT (HS256) that is valid for 24 hours.
    pub token: String,
    /// The time at which the token expires.
    pub expires_at: Timestamp,
}

/// A user (`/api/users`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct User {
    /// The user's id.
    pub id: UserId,
    /// The email address with which the user logs in.
    pub email: Email,
    /// The user's permissions.
    pub role: Role,
    /// True if the user may log in.
    pub enabled: bool,
    /// The time at which the user was created.
    pub created_at: Timestamp,
    /// The time of the last login; null if there has been none.
    pub last_login_at: Option<Timestamp>,
}

/// A new user (`POST /api/users`).
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// The email address with which the user logs in.
    pub email: Email,
    /// The password: at least 12 characters and at most 1,024 bytes. Secret.
    #[cfg_attr(feature = "openapi", schemars(length(min = 12, max = 1024)))]
    pub password: String,
    /// The user's permissions.
    pub role: Role,
}

/// A change to a user (`PATCH /api/users/{id}`).
#[derive(Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct UserPatch {
    /// A new role.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schemars(with = "Role"))]
    pub role: Option<Role>,
    /// True to enable the user, false to disable the user.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schemars(with = "bool"))]
    pub enabled: Option<bool>,
    /// A new password, set by an admin. Secret.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schemars(with = "String", length(min = 12, max = 1024)))]
    pub password: Option<String>,
}

/// A change to the caller's own password (`POST /api/password`).
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PasswordChange {
    /// The current password. Secret.
    pub current_password: String,
    /// The new password. Secret.
    #[cfg_attr(feature = "openapi", schemars(length(min = 12, max = 1024)))]
    pub new_password: String,
}
