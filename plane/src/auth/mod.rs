//! Proving who somebody is: passwords, tokens, and how often one may try.
//!
//! Owns the cryptography of authentication. It must not know HTTP, nor decide what an
//! authenticated caller may do: that is `http::principal`.

mod password;
mod policy;
mod session_token;
mod throttle;
mod vault;

pub use password::{Busy, PasswordError};
pub(crate) use password::{Passwords, is_weak};
pub(crate) use policy::{Password, check_policy};
pub use session_token::TokenError;
pub(crate) use session_token::Tokens;
pub(crate) use throttle::{LoginThrottle, Principal, WriteThrottle};
pub(crate) use vault::{AnswerVault, fingerprint};
