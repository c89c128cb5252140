//! Authentication: passwords, tokens, and limits on the number of attempts.
//!
//! Owns the cryptography of authentication. It must not know HTTP, nor decide what an
//! authenticated caller may do: that belongs to `http::principal`.

mod password;
mod password_policy;
mod rate_limit;
mod session_token;
mod vault;

pub use password::{Busy, PasswordError};
pub(crate) use password::{Passwords, is_weak};
pub(crate) use password_policy::{Password, check_policy};
pub(crate) use rate_limit::{LoginThrottle, Principal, WriteThrottle};
pub use session_token::TokenError;
pub(crate) use session_token::Tokens;
pub(crate) use vault::{AnswerVault, fingerprint};
