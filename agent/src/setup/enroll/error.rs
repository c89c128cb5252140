//! The errors of an enrolment.

use std::io;
use std::path::PathBuf;

use wgctl::ServerId;
use wgctl::client::Target;

use crate::setup::{adopt, wg_quick_file};
use crate::{cache, config, secrets};

/// A host that was not enrolled. Nothing was written except the host's own keys.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// There is no token.
    #[error("no token came from {0}: pass what `wgctl server add` printed")]
    NoToken(String),
    /// The configuration would make no sense.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The host's keys.
    #[error(transparent)]
    Secrets(#[from] secrets::Error),
    /// The token is of another server than the one this host is already.
    #[error(
        "the token is of server {theirs}, but this host is {ours}: take a token of {ours}, or give the agent another \
         --state-dir than {}", folder.display()
    )]
    AnotherServer {
        /// The token's.
        theirs: ServerId,
        /// The state's.
        ours: ServerId,
        /// The state folder.
        folder: PathBuf,
    },
    /// The cached state cannot be read.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// The plane refuses the token.
    #[error(
        "{0} refuses this token: it is not (or no longer) valid, or was not copied completely. `wgctl server token ID` \
         makes a new one for the server ID"
    )]
    Token(Target),
    /// The plane refused the host, or cannot be reached.
    #[error("not enrolled: {0}")]
    Plane(#[from] wgctl::client::Error),
    /// The file to import.
    #[error(transparent)]
    Import(#[from] wg_quick_file::Error),
    /// The interface that is there.
    #[error(transparent)]
    Adopt(#[from] adopt::Error),
    /// The kernel.
    #[error(transparent)]
    Device(#[from] wgctl::device::Error),
    /// An agent uses the state folder.
    #[error("the agent runs with {}: stop it first (`systemctl stop sentrazone-agent`)", .0.display())]
    AgentRuns(PathBuf),
    /// A call was interrupted.
    #[error("asking the kernel was interrupted: {0}")]
    Interrupted(String),
    /// The configuration cannot be written as TOML.
    #[error("the configuration cannot be written: {0}")]
    Toml(#[from] toml::ser::Error),
}
