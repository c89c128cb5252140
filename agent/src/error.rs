//! The errors that end the agent or one of its commands, and their exit codes.

use std::io;
use std::path::PathBuf;

use crate::setup::enroll;
use crate::{cache, config, conversation, secrets};

/// An error that prevents the agent from starting or a command from being executed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The host's keys cannot be used.
    #[error(transparent)]
    Secrets(#[from] secrets::Error),
    /// The planes cannot be dialled.
    #[error(transparent)]
    Planes(#[from] conversation::SetupError),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// The kernel refused a request.
    #[error(transparent)]
    Device(#[from] wgctl::device::Error),
    /// The enrolment failed.
    #[error(transparent)]
    Enroll(#[from] enroll::Error),
    /// The system refused to provide a thread, a signal handler or a lock.
    #[error("{0}")]
    System(#[from] io::Error),
    /// Another agent is using the state directory.
    #[error("another agent is running with {}: stop it first, or give this one another state_dir", .0.display())]
    Locked(PathBuf),
    /// The agent must be stopped first.
    #[error("the agent is running with {}: stop it first (`systemctl stop sentrazone-agent`)", .0.display())]
    StillRuns(PathBuf),
    /// The host has been released.
    #[error(
        "this host has been released: its interface is left as it is. Run `sentrazone-agent enroll` to manage it \
         again; otherwise disable the agent (`systemctl disable sentrazone-agent`)"
    )]
    Released,
    /// The kernel thread has ended.
    #[error("the kernel thread has ended unexpectedly: see its last log lines")]
    ThreadEnded,
}

impl Error {
    /// Returns the exit code. If a restart would not help, this is a code from sysexits.h, or 79 for a released host,
    /// so that systemd does not restart the unit.
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
