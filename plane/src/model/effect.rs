//! What a commit means for those who wait.

use wgctl::ServerId;

/// One effect of a commit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// A server's desired state is at this revision now.
    DesiredStateMoved {
        /// The server.
        server: ServerId,
        /// The revision.
        revision: u64,
    },
    /// What a server's agent has confirmed is known anew, or was taken back.
    Confirmed {
        /// The server.
        server: ServerId,
    },
    /// A server's stock of prekeys grew.
    PrekeysCame {
        /// The server.
        server: ServerId,
    },
    /// A token of a server's agent is not valid any more, or the server was removed.
    AgentCutOff {
        /// The server.
        server: ServerId,
    },
    /// Everything that is recorded was replaced.
    EverythingReplaced,
}
