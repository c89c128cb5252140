//! The errors that end the agent or one of its commands, and their exit codes.

use std::io;
use std::path::PathBuf;

use crate::setup::enroll;
use crate::{cache, config, conversation, secrets};

/// An agent that cannot start, or a command that cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The host's keys.
    #[error(transparent)]
    Secrets(#[from] secrets::Error),
    /// The planes to dial.
    #[error(transparent)]
    Planes(#[from] conversation::SetupError),
    /// The cache.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// The kernel.
    #[error(transparent)]
    Device(#[from] wgctl::device::Error),
    /// Enrolling.
    #[error(transparent)]
    Enroll(#[from] enroll::Error),
    /// The system refused a thread, a signal handler or a lock.
    #[error("{0}")]
    System(#[from] io::Error),
    /// Another agent uses the state folder.
    #[error("another agent runs with {}: stop it first, or give this one another state_dir", .0.display())]
    Locked(PathBuf),
    /// The agent must be stopped first.
    #[error("the agent runs with {}: stop it first (`systemctl stop sentrazone-agent`)", .0.display())]
    StillRuns(PathBuf),
    /// The host was released.
    #[error(
        "this host was released: its interface is left as it is. `sentrazone-agent enroll` takes it up again; else stop \
         starting the agent (`systemctl disable sentrazone-agent`)"
    )]
    Released,
    /// The thread for the kernel is gone.
    #[error("the thread for the kernel has ended unexpectedly: its last log lines say why")]
    ThreadEnded,
}

impl Error {
    /// The exit code. It is one of sysexits.h if a restart does not help, so that the unit does not restart.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        const DATA: u8 = 65;
        const TEMPORARY: u8 = 75;
        const CONFIGURATION: u8 = 78;
        const RELEASED: u8 = 79;
        match self {
            Self::Config(_) | Self::Planes(_) => CONFIGURATION,
            Self::Secrets(secrets::Error::Corrupt(_) | secrets::Error::Missing { .. }) => DATA,
            Self::Locked(_) => TEMPORARY,
            Self::Released => RELEASED,
            Self::Secrets(
                secrets::Error::File { .. }
                | secrets::Error::Key(_)
                | secrets::Error::Open { .. }
                | secrets::Error::Mismatch(_),
            )
            | Self::Cache(_)
            | Self::Device(_)
            | Self::Enroll(_)
            | Self::System(_)
            | Self::StillRuns(_)
            | Self::ThreadEnded => 1,
        }
    }
}
