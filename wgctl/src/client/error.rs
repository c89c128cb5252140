//! The errors of a call to a plane.
//!
//! Owns the texts, which name the next step.

use std::time::Duration;

use reqwest::StatusCode;

use super::target::Target;
use crate::api::Problem;
use crate::pin::Pin;

/// The reason why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plane refused, and says why.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// Nobody answered.
    #[error("cannot reach the plane at {target}: {reason}")]
    Unreachable {
        /// Where.
        target: String,
        /// The innermost reason.
        reason: String,
    },
    /// The plane that answered is not trusted. Nothing was sent to it.
    #[error(
        "the plane at {target} is not trusted: {reason}. It shows {presented}: `sudo sentrazone-plane fingerprint` on \
         the plane's machine says what it should show{}",
        if *pinned { "; if it shows another key, somebody is in between" } else { ", and --pin takes that" }
    )]
    Untrusted {
        /// Where.
        target: String,
        /// The reason why its certificate was not accepted.
        reason: String,
        /// The key it shows.
        presented: Pin,
        /// True if another key was pinned.
        pinned: bool,
    },
    /// The other side speaks TLS where plain http was asked for, or the other way round.
    #[error("what answers at {target} speaks no {missing}: if it is the plane, use {instead}")]
    WrongScheme {
        /// Where.
        target: String,
        /// The protocol that was asked for.
        missing: &'static str,
        /// The same place with the other scheme.
        instead: String,
    },
    /// Something answered that is no plane, or a newer one.
    #[error("{target} answered {status} with something that is not the plane's API ({reason})")]
    Unexpected {
        /// Where.
        target: String,
        /// The HTTP status.
        status: u16,
        /// The oddity.
        reason: String,
    },
    /// The client itself could not be set up.
    #[error("cannot set up the HTTP client: {0}")]
    Setup(String),
}

impl Error {
    /// The plane's status, where it answered with a problem.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(problem) => Some(problem.status),
            Self::Unexpected { status, .. } => Some(*status),
            Self::Unreachable { .. } | Self::Untrusted { .. } | Self::WrongScheme { .. } | Self::Setup(_) => None,
        }
    }

    /// The problem's stable code, where the plane answered with one.
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

    /// No answer within the limit.
    pub(super) fn silent(target: &Target, limit: Duration) -> Self {
        Self::Unreachable {
            target: target.to_string(),
            reason: format!("no answer for {} s", limit.as_secs()),
        }
    }

    /// An answer that is not the API's.
    pub(super) fn unexpected(target: &Target, status: StatusCode, reason: impl Into<String>) -> Self {
        Self::Unexpected {
            target: target.to_string(),
            status: status.as_u16(),
            reason: reason.into(),
        }
    }
}
