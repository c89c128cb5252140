//! The grounds on which a caller may act.
//!
//! Owns the values only. The fleet checks that an authority still holds, inside the transaction of the change that
//! relies on it.

use wgctl::ServerId;
use wgctl::api::Role;
use wgctl::name::{TokenId, UserId};

/// The proof that a caller gave with its request, and the rights that its request needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authority {
    /// An authority that cannot end meanwhile: a user of this host (admitted by the socket's mode), or a caller that
    /// only leaves an audit record, such as a failed login.
    Standing,
    /// A person's session.
    Session {
        /// The person.
        user: UserId,
        /// The session's epoch.
        epoch: u64,
        /// The lowest role that suffices.
        role: Role,
    },
    /// An API token.
    Token {
        /// The token.
        id: TokenId,
        /// The lowest role that suffices.
        role: Role,
        /// The server that a token limited to some servers must include.
        server: Option<ServerId>,
    },
    /// A server's agent.
    Agent {
        /// The server.
        server: ServerId,
        /// SHA-256 of the agent's token.
        token_hash: [u8; 32],
    },
}
