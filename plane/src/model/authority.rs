//! The grounds on which a caller may act.
//!
//! Owns only the values. The fleet checks that an authority is still valid, inside the transaction of the change that
//! relies on it.

use wgctl::ServerId;
use wgctl::api::Role;
use wgctl::name::{TokenId, UserId};

/// The proof that a caller sent with its request, and the rights that the request requires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authority {
    /// An authority that cannot be revoked during the request. It belongs to a user of this host, whom the socket's
    /// mode admits, or to a caller whose request only causes an audit record, such as a failed login.
    Standing,
    /// A person's session.
    Session {
        /// The person.
        user: UserId,
        /// The session's epoch.
        epoch: u64,
        /// The lowest role that is sufficient.
        role: Role,
    },
    /// An API token.
    Token {
        /// The token.
        id: TokenId,
        /// The lowest role that is sufficient.
        role: Role,
        /// The server that the token must cover if the token is limited to certain servers.
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
