//! The effects of a commit on waiting requests and polls.

use wgctl::ServerId;

/// One effect of a commit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// A server's desired state has a new revision.
    DesiredStateMoved {
        /// The server.
        server: ServerId,
        /// The revision.
        revision: u64,
    },
    /// The confirmation of a server's agent changed, or was taken back.
    Confirmed {
        /// The server.
        server: ServerId,
    },
    /// A server's stock of prekeys grew.
    PrekeysCame {
        /// The server.
        server: ServerId,
    },
    /// A token of a server's agent is no longer valid, or the server was removed.
    AgentCutOff {
        /// The server.
        server: ServerId,
    },
    /// Everything that is recorded was replaced.
    EverythingReplaced,
}
