//! Refusals of the fleet: the reasons why a request was not carried out.
//!
//! Owns [`Refusal`]: the field it names, and its text for people. It must not know HTTP: the HTTP layer gives each refusal
//! its code and status.

use wgctl::api::{Hint, NextStep};

use crate::store::StoreError;

/// A refused request. Nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// `not_found`: the named object does not exist.
    #[error("there is no {what}: list what exists and check the spelling")]
    NotFound {
        /// Like `server "los-angeles"`.
        what: String,
    },
    /// `unauthorized`: the caller's credential is no longer valid.
    #[error("{0}")]
    Unauthorized(String),
    /// `unauthorized`: the session of the caller has ended since the request began.
    #[error("this session has ended meanwhile: log in at POST /api/login")]
    SessionEnded,
    /// `forbidden`: the caller's role does not permit it.
    #[error("{0}")]
    Forbidden(String),
    /// `invalid_field`: an invalid value of a field.
    #[error("{field}: {detail}")]
    InvalidField {
        /// As the request spells it, like `address_pool[0]`.
        field: String,
        /// The error and a valid alternative.
        detail: String,
    },
    /// `server_exists`.
    #[error("a server with the id {0:?} exists: choose another id, or remove that one first")]
    ServerExists(String),
    /// `user_exists`.
    #[error("a user with the email {0:?} exists: change that one, or choose another email")]
    UserExists(String),
    /// `token_exists`.
    #[error("an API token with the name {0:?} exists: remove that one, or choose another name")]
    TokenExists(String),
    /// `name_taken`.
    #[error("the server already has a client named {0:?}: choose another name")]
    NameTaken(String),
    /// `address_taken`.
    #[error("the address {0} is in use on this server: choose another, or leave it out to get the next free one")]
    AddressTaken(String),
    /// `overlapping_networks`.
    #[error("the network {network} overlaps {other} on this server: one address can lead to one client only")]
    OverlappingNetworks {
        /// The requested network.
        network: String,
        /// The existing network or address, and its owner.
        other: String,
    },
    /// `public_key_taken`.
    #[error("the public key {0} is in use on this server: make a new key pair for this client")]
    PublicKeyTaken(String),
    /// `pool_exhausted`.
    #[error(
        "the pool {0} has no free address left: remove clients that are not needed, or register a server with a larger pool"
    )]
    PoolExhausted(String),
    /// `private_key_not_held`.
    #[error(
        "the client {0:?} brought its own key, and its private key never left its device: use the configuration made there"
    )]
    PrivateKeyNotHeld(String),
    /// `adoption_not_awaited`.
    #[error(
        "server {0:?} does not await the adoption of an interface: `wgctl server set {0} --adopt` makes it await one, then enroll again"
    )]
    AdoptionNotAwaited(String),
    /// `adoption_refused`.
    #[error("the interface cannot be adopted, and nothing was changed: {0}")]
    AdoptionRefused(String),
    /// `agent_offline`.
    #[error("the agent of server {server:?} {detail}")]
    AgentOffline {
        /// The server.
        server: String,
        /// The agent's failure and the next step.
        detail: String,
    },
    /// `agent_offline`: a prekey is needed, and the stock is empty.
    #[error("{}: start it, or give a publicKey and \"presharedKey\": false", no_prekeys(.0))]
    NoPrekeys(String),
    /// `idempotency_conflict`.
    #[error(
        "this Idempotency-Key was used within 24 hours for another body: send the first body again, or use a new key"
    )]
    IdempotencyConflict,
    /// `idempotency_conflict`: the secret in the stored answer is no longer valid.
    #[error(
        "this Idempotency-Key made {0}, which was removed or got another token since: use a new key to make another"
    )]
    AnswerOutlived(String),
    /// `last_admin`.
    #[error("{0:?} is the last enabled admin: make another admin first")]
    LastAdmin(String),
    /// `too_many_requests`.
    #[error("{what}: try again in {retry_after} s")]
    TooManyRequests {
        /// The exceeded limit.
        what: &'static str,
        /// Seconds to wait.
        retry_after: u64,
    },
    /// `overloaded`.
    #[error("{0}")]
    Busy(String),
    /// `storage_unavailable`, or `invalid_backup` for a backup that cannot be restored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// `internal`.
    #[error("{0}")]
    Internal(String),
}

impl Refusal {
    /// Returns the request's field that is wrong, where there is one.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::InvalidField { field, .. } => Some(field),
            Self::NameTaken(_) => Some("name"),
            Self::AddressTaken(_) => Some("address"),
            Self::OverlappingNetworks { .. } => Some("serverAllowedIPs"),
            Self::PublicKeyTaken(_) => Some("publicKey"),
            Self::ServerExists(_) => Some("id"),
            Self::UserExists(_) => Some("email"),
            Self::TokenExists(_) => Some("name"),
            Self::NotFound { .. }
            | Self::Unauthorized(_)
            | Self::Forbidden(_)
            | Self::PoolExhausted(_)
            | Self::PrivateKeyNotHeld(_)
            | Self::AdoptionNotAwaited(_)
            | Self::AdoptionRefused(_)
            | Self::SessionEnded
            | Self::AgentOffline { .. }
            | Self::NoPrekeys(_)
            | Self::IdempotencyConflict
            | Self::AnswerOutlived(_)
            | Self::LastAdmin(_)
            | Self::TooManyRequests { .. }
            | Self::Busy(_)
            | Self::Store(_)
            | Self::Internal(_) => None,
        }
    }

    /// Returns the next step, where the text names a call of the API for it.
    #[must_use]
    pub fn hint(&self) -> Option<Hint> {
        let (reason, step) = match self {
            Self::SessionEnded => ("this session has ended meanwhile".to_owned(), NextStep::LogIn),
            Self::NoPrekeys(server) => (no_prekeys(server), NextStep::BringOwnKey),
            Self::NotFound { .. }
            | Self::Unauthorized(_)
            | Self::Forbidden(_)
            | Self::InvalidField { .. }
            | Self::ServerExists(_)
            | Self::UserExists(_)
            | Self::TokenExists(_)
            | Self::NameTaken(_)
            | Self::AddressTaken(_)
            | Self::OverlappingNetworks { .. }
            | Self::PublicKeyTaken(_)
            | Self::PoolExhausted(_)
            | Self::PrivateKeyNotHeld(_)
            | Self::AdoptionNotAwaited(_)
            | Self::AdoptionRefused(_)
            | Self::AgentOffline { .. }
            | Self::IdempotencyConflict
            | Self::AnswerOutlived(_)
            | Self::LastAdmin(_)
            | Self::TooManyRequests { .. }
            | Self::Busy(_)
            | Self::Store(_)
            | Self::Internal(_) => return None,
        };
        Some(Hint { reason, step })
    }

    /// Returns the seconds after which to try again, where waiting helps.
    #[must_use]
    pub const fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooManyRequests { retry_after, .. } => Some(*retry_after),
            Self::Busy(_) => Some(60),
            _ => None,
        }
    }

    /// Returns the refusal of a field's value.
    pub(crate) fn field_value(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::InvalidField {
            field: field.into(),
            detail: detail.into(),
        }
    }
}

fn no_prekeys(server: &str) -> String {
    format!("the agent of server {server:?} is not connected, and its stock of prekeys is empty")
}
