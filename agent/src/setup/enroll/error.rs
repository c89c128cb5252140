//! The errors that can occur during an enrolment.

use std::io;
use std::path::PathBuf;

use wgctl::ServerId;
use wgctl::client::Target;

use crate::config::TokenFault;
use crate::setup::{adopt, wg_quick_file};
use crate::{cache, config, secrets};

/// An error that prevents an enrolment. Except for the host's own keys, nothing is written before everything that
/// can be refused has been checked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error from the operating system.
        source: io::Error,
    },
    /// The token that was given is not an agent's token.
    #[error(
        "--token-file: {origin} {fault}: pass only the token that `wgctl server add` or `wgctl server token` printed \
         (szagent_…)"
    )]
    NotAToken {
        /// The file, or the standard input.
        origin: String,
        /// The reason why its content is not a token.
        fault: TokenFault,
    },
    /// The resulting configuration would be invalid.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The host's keys cannot be used.
    #[error(transparent)]
    Secrets(#[from] secrets::Error),
    /// The token belongs to a different server than the one that this host is already enrolled as.
    #[error(
        "the token belongs to server {theirs}, but this host is {ours}: use a token for {ours}, or give the agent a \
         --state-dir other than {}", folder.display()
    )]
    AnotherServer {
        /// The server to which the token belongs.
        theirs: ServerId,
        /// The server to which the cached state belongs.
        ours: ServerId,
        /// The state directory.
        folder: PathBuf,
    },
    /// The cached state cannot be read.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// The plane refuses the token.
    #[error(
        "{0} refuses this token: it is invalid, no longer valid, or was not copied completely. `wgctl server token ID` \
         creates a new one for the server ID"
    )]
    Token(Target),
    /// The plane refused the host, or cannot be reached.
    #[error("not enrolled: {0}")]
    Plane(#[from] wgctl::client::Error),
    /// The file to import cannot be used.
    #[error(transparent)]
    Import(#[from] wg_quick_file::Error),
    /// The existing interface cannot be adopted.
    #[error(transparent)]
    Adopt(#[from] adopt::Error),
    /// The kernel refused a request.
    #[error(transparent)]
    Device(#[from] wgctl::device::Error),
    /// An agent is using the state directory.
    #[error("the agent is running with {}: stop it first (`systemctl stop sentrazone-agent`)", .0.display())]
    AgentRuns(PathBuf),
    /// A call to the kernel was interrupted.
    #[error("the request to the kernel was interrupted: {0}")]
    Interrupted(String),
    /// The configuration cannot be written as TOML.
    #[error("the configuration cannot be written: {0}")]
    Toml(#[from] toml::ser::Error),
}
