//! Proving who somebody is: passwords, tokens, and how often one may try.
//!
//! Owns the cryptography of authentication. It must not know HTTP, nor decide what an
//! authenticated caller may do: that is `http::principal`.

mod key;
mod password;
mod throttle;
mod token;
mod vault;

pub(crate) use key::{KeyError, SigningKey};
pub(crate) use password::{Busy, PasswordError, Passwords, check_policy};
pub(crate) use throttle::LoginThrottle;
pub(crate) use token::{Claims, TokenError, Tokens};
pub(crate) use vault::{AnswerVault, fingerprint};
