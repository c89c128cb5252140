//! The effects of a commit on waiting requests and polls.

use wgctl::ServerId;

/// One effect of a commit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// A server's desired state has a new revision.
    DesiredStateAdvanced {
        /// The server.
        server: ServerId,
        /// The revision.
        revision: u64,
    },
    /// The confirmation from a server's agent, or the record of a peer that its kernel refused, was written or removed.
    Confirmed {
        /// The server.
        server: ServerId,
    },
    /// A server's stock of prekeys grew.
    PrekeysAdded {
        /// The server.
        server: ServerId,
    },
    /// A token of a server's agent is no longer valid, or the server was removed.
    AgentCutOff {
        /// The server.
        server: ServerId,
    },
    /// All records were replaced.
    EverythingReplaced,
}
