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
    /// The confirmation from a server's agent, or the kernel's refusal of one of its peers, was recorded or removed.
    Confirmed {
        /// The server.
        server: ServerId,
    },
    /// Prekeys were added to a server's stock.
    PrekeysAdded {
        /// The server.
        server: ServerId,
    },
    /// A token issued for a server's agent is no longer valid, or the server was removed.
    AgentCutOff {
        /// The server.
        server: ServerId,
    },
    /// All records were replaced.
    EverythingReplaced,
}
