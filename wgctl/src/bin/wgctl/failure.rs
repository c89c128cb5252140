//! The failures of a command.
//!
//! Owns the exit code of each kind of failure and the next step that the user can take. It must not contain a
//! secret, because failures are printed.

use std::io::Write as _;

use serde_json::{Value, json};
use wgctl::client;

use crate::plane_refusal;
use crate::terminal::text::plain;

/// The reason why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The arguments contradict each other in a way that the argument parser does not detect.
    #[error("{0}")]
    Usage(String),
    /// The plane refused the request or could not be reached.
    #[error("{}", describe(.0))]
    Call(#[from] client::Error),
    /// Nothing on the plane has the given name.
    #[error("{0} (not_found)")]
    NotFound(String),
    /// A file on the command line is of the wrong kind.
    #[error("{0}")]
    WrongFile(String),
    /// Something on this machine failed, such as a file, the terminal or the kernel.
    #[error("{0}")]
    Local(String),
    /// The reader of the output has closed the pipe.
    #[error("the reader of the output is gone")]
    ReaderGone,
}

impl Failure {
    /// Creates the failure for a file operation.
    pub(crate) fn file(what: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::Local(format!("cannot {what} {}: {error}", path.display()))
    }

    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::WrongFile(_) => 2,
            Self::Call(_) | Self::NotFound(_) | Self::Local(_) | Self::ReaderGone => 1,
        }
    }

    /// Returns true if the same call may succeed later, because the plane is unreachable, overloaded or failing.
    pub(crate) fn may_pass(&self) -> bool {
        let Self::Call(error) = self else { return false };
        match error {
            client::Error::Unreachable { .. } => true,
            error => error.status().is_some_and(|status| status == 429 || status >= 500),
        }
    }

    /// Prints the failure on stderr. A write error is ignored, because there is nowhere left to report it.
    pub(crate) fn tell(&self, json: bool, prefix: &str) {
        let mut stderr = std::io::stderr().lock();
        if json {
            let _ = writeln!(stderr, "{}", self.to_json());
            return;
        }
        let _ = writeln!(stderr, "{prefix}{}", plain(&self.to_string()));
        if let Some(hint) = self.next_step() {
            let _ = writeln!(stderr, "       {}", plain(&hint));
        }
    }

    /// Returns the plane's problem report unchanged, or the `detail` and `code` of a failure of the command itself.
    pub(crate) fn to_json(&self) -> Value {
        let code = match self {
            Self::Call(client::Error::Refused(problem)) => return json!(problem),
            Self::Call(client::Error::Unreachable { .. }) => "unreachable",
            Self::Call(client::Error::Untrusted { .. }) => "untrusted",
            Self::Call(client::Error::WrongScheme { .. }) => "wrong_scheme",
            Self::Call(client::Error::Unexpected { .. }) => "unexpected_answer",
            Self::NotFound(detail) => return json!({ "detail": detail, "code": "not_found" }),
            Self::Usage(_) => "usage",
            Self::WrongFile(_) => "wrong_file",
            Self::Call(client::Error::Setup(_)) | Self::Local(_) | Self::ReaderGone => "local",
        };
        json!({ "detail": self.to_string(), "code": code })
    }

    /// Returns the next step, if the message does not already name it.
    pub(crate) fn next_step(&self) -> Option<String> {
        let Self::Call(error) = self else { return None };
        match error {
            client::Error::Unreachable { reason, .. } if reason.contains("Permission denied") => {
                Some("use sudo, or join the group that may use the socket: usermod -aG sentrazone USER".to_owned())
            }
            client::Error::Unreachable { target, .. } if target.starts_with('/') => Some(
                "is sentrazone-plane running on this machine? Name another plane with --plane URL, or log in with \
                 `wgctl login URL`"
                    .to_owned(),
            ),
            client::Error::Unreachable { .. } => {
                Some("is the URL correct, and is sentrazone-plane running there?".to_owned())
            }
            client::Error::Refused(problem) if problem.code == "unauthorized" && problem.hint.is_none() => {
                Some("log in with `wgctl login URL`, or give a token with --token-file".to_owned())
            }
            client::Error::Refused(_)
            | client::Error::Untrusted { .. }
            | client::Error::WrongScheme { .. }
            | client::Error::Unexpected { .. }
            | client::Error::Setup(_) => None,
        }
    }
}

fn describe(error: &client::Error) -> String {
    match error {
        client::Error::Refused(problem) => plane_refusal::text(problem),
        other => other.to_string(),
    }
}
