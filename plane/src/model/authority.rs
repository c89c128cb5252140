//! What a caller's leave to act rests on.
//!
//! Owns the words for it only. Whether it still holds is asked by the fleet, inside the transaction
//! of what is done with it.

use wgctl::ServerId;
use wgctl::api::Role;
use wgctl::name::{TokenId, UserId};

/// What a caller proved when the request came, and what it needs for what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authority {
    /// Nothing that could end meanwhile: a user of this host (the socket's mode lets them in), or
    /// somebody who only leaves a trace, like a failed login.
    Standing,
    /// A person's session.
    Session {
        /// Whose.
        user: UserId,
        /// The epoch it is of.
        epoch: u64,
        /// What the person must at least be.
        role: Role,
    },
    /// An API token.
    Token {
        /// Which.
        id: TokenId,
        /// What it must at least be.
        role: Role,
        /// The server it must be for, where it is limited to some.
        server: Option<ServerId>,
    },
    /// A server's agent.
    Agent {
        /// Whose.
        server: ServerId,
        /// SHA-256 of its token.
        token_hash: [u8; 32],
    },
}
