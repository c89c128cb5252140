//! Proving who somebody is: passwords, tokens, and how often one may try.
//!
//! Owns the cryptography of authentication. It must not know HTTP, nor decide what an
//! authenticated caller may do: that is `http::principal`.

mod password;
mod policy;
mod throttle;
mod token;
mod vault;

pub use password::{Busy, PasswordError};
pub(crate) use password::{Passwords, is_weak};
pub(crate) use policy::{Password, check_policy};
pub(crate) use throttle::{LoginThrottle, Principal, WriteThrottle};
pub use token::TokenError;
pub(crate) use token::Tokens;
pub(crate) use vault::{AnswerVault, fingerprint};
