//! The errors of a call to a plane.
//!
//! Owns their messages, which name the next step. It must not decide what to do about an error.

use std::time::Duration;

use reqwest::StatusCode;

use super::target::Target;
use crate::api::Problem;
use crate::pin::Pin;

/// The reason why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plane refused the request and gave a reason.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// The plane did not respond.
    #[error("cannot reach the plane at {target}: {reason}")]
    Unreachable {
        /// The address of the plane.
        target: String,
        /// The innermost cause.
        reason: String,
    },
    /// The plane that responded is not trusted. Nothing was sent to it.
    #[error(
        "the plane at {target} is not trusted: {reason}. It presents {presented}: `sudo sentrazone-plane fingerprint` \
         on the plane's machine prints the right one{}",
        if *pinned { "; if it prints another key, somebody may be intercepting the connection" } else { ", which can be passed with --pin" }
    )]
    Untrusted {
        /// The address of the plane.
        target: String,
        /// The reason why its certificate was not accepted.
        reason: String,
        /// The pin of the key that it presents.
        presented: Pin,
        /// True if a different key was pinned.
        pinned: bool,
    },
    /// The other side speaks TLS although plain HTTP was requested, or the other way round.
    #[error("the server at {target} does not speak {missing}: if it is the plane, use {instead}")]
    WrongScheme {
        /// The address of the server.
        target: String,
        /// The protocol that was requested.
        missing: &'static str,
        /// The same address with the other scheme.
        instead: String,
    },
    /// The server that responded is not a plane, or is a newer version.
    #[error("{target} responded with status {status}, but not as the plane's API does ({reason})")]
    Unexpected {
        /// The address of the server.
        target: String,
        /// The HTTP status.
        status: u16,
        /// A description of the unexpected content.
        reason: String,
    },
    /// The client itself could not be set up.
    #[error("cannot set up the HTTP client: {0}")]
    Setup(String),
}

impl Error {
    /// Returns the HTTP status of the response, if there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(problem) => Some(problem.status),
            Self::Unexpected { status, .. } => Some(*status),
            Self::Unreachable { .. } | Self::Untrusted { .. } | Self::WrongScheme { .. } | Self::Setup(_) => None,
        }
    }

    /// Returns the stable code of the problem report, if the plane responded with one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) => Some(&problem.code),
            Self::Unreachable { .. }
            | Self::Untrusted { .. }
            | Self::WrongScheme { .. }
            | Self::Unexpected { .. }
            | Self::Setup(_) => None,
        }
    }

    /// Creates the error for a response that did not arrive within the limit.
    pub(super) fn silent(target: &Target, limit: Duration) -> Self {
        Self::Unreachable {
            target: target.to_string(),
            reason: format!("no answer for {} s", limit.as_secs()),
        }
    }

    /// Creates the error for a response that does not belong to the API.
    pub(super) fn unexpected(target: &Target, status: StatusCode, reason: impl Into<String>) -> Self {
        Self::Unexpected {
            target: target.to_string(),
            status: status.as_u16(),
            reason: reason.into(),
        }
    }
}
