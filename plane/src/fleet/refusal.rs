//! The reasons why the fleet refuses a request.
//!
//! Owns [`Refusal`], including the field that it names and its human-readable text. It must not depend
//! on HTTP: the HTTP layer assigns each refusal its code and status.

use wgctl::api::{Hint, NextStep};

use crate::store::StoreError;

/// The reason for refusing a request. A refused request has changed nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// `not_found`: the named object does not exist.
    #[error("there is no {what}: list what exists and check the spelling")]
    NotFound {
        /// The object, for example `server "los-angeles"`.
        what: String,
    },
    /// `unauthorized`: the caller's credential is no longer valid.
    #[error("{0}")]
    Unauthorized(String),
    /// `unauthorized`: the caller's session has ended since the request began.
    #[error("this session has ended in the meantime: log in at POST /api/login")]
    SessionEnded,
    /// `forbidden`: the caller's role does not permit it.
    #[error("{0}")]
    Forbidden(String),
    /// `invalid_field`: the value of a field is invalid.
    #[error("{field}: {detail}")]
    InvalidField {
        /// The field as the request spells it, for example `address_pool[0]`.
        field: String,
        /// The error and a valid alternative.
        detail: String,
    },
    /// `server_exists`: the server's id is in use.
    #[error("a server with the id {0:?} already exists: choose another id, or remove that one first")]
    ServerExists(String),
    /// `user_exists`: the user's email is in use.
    #[error("a user with the email {0:?} already exists: change that one, or choose another email")]
    UserExists(String),
    /// `token_exists`: the API token's name is in use.
    #[error("an API token with the name {0:?} already exists: remove that one, or choose another name")]
    TokenExists(String),
    /// `name_taken`: the client's name is in use on the server.
    #[error("the server already has a client named {0:?}: choose another name")]
    NameTaken(String),
    /// `address_taken`: the address is in use on the server.
    #[error("the address {0} is in use on this server: choose another, or leave it out to get the next free one")]
    AddressTaken(String),
    /// `overlapping_networks`: a network overlaps another network or an address.
    #[error("the network {network} overlaps {other} on this server: an address can belong to only one client")]
    OverlappingNetworks {
        /// The requested network.
        network: String,
        /// The existing network or address, and its owner.
        other: String,
    },
    /// `public_key_taken`: the public key is in use on the server.
    #[error("the public key {0} is in use on this server: make a new key pair for this client")]
    PublicKeyTaken(String),
    /// `pool_exhausted`: all addresses in the pool are in use.
    #[error(
        "the pool {0} has no free address left: remove clients that are not needed, or register a server with a larger pool"
    )]
    PoolExhausted(String),
    /// `private_key_not_held`: the client's private key is only on its device.
    #[error(
        "the client {0:?} brought its own key, and its private key never left its device: use the configuration made there"
    )]
    PrivateKeyNotHeld(String),
    /// `adoption_not_awaited`: the server does not await an adoption.
    #[error(
        "server {0:?} does not await the adoption of an interface: run `wgctl server set {0} --adopt`, then enroll again"
    )]
    AdoptionNotAwaited(String),
    /// `adoption_refused`: there are obstacles to the adoption.
    #[error("the interface cannot be adopted, and nothing was changed: {0}")]
    AdoptionRefused(String),
    /// `agent_offline`: the agent is not connected, or did not do what was requested.
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
    /// `idempotency_conflict`: the key was used with another body.
    #[error(
        "this Idempotency-Key was used with another body within the last 24 hours: send the first body again, or use a new key"
    )]
    IdempotencyConflict,
    /// `idempotency_conflict`: the secret in the stored response is no longer valid.
    #[error(
        "this Idempotency-Key created {0}, which has since been removed or given another token: use a new key to create another"
    )]
    AnswerOutlived(String),
    /// `last_admin`: the change would leave no enabled admin.
    #[error("{0:?} is the last enabled admin: make another admin first")]
    LastAdmin(String),
    /// `too_many_requests`: the caller must wait.
    #[error("{what}: try again in {retry_after} s")]
    TooManyRequests {
        /// The exceeded limit.
        what: &'static str,
        /// Seconds to wait.
        retry_after: u64,
    },
    /// `overloaded`: the plane cannot handle the request now.
    #[error("{0}")]
    Busy(String),
    /// `storage_unavailable`, or `invalid_backup` for a backup that cannot be restored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// `internal`: an error inside the plane.
    #[error("{0}")]
    Internal(String),
}

impl Refusal {
    /// Returns the field of the request that is wrong, if there is one.
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

    /// Returns the next step, if the text names an API call for it.
    #[must_use]
    pub fn hint(&self) -> Option<Hint> {
        let (reason, step) = match self {
            Self::SessionEnded => ("this session has ended in the meantime".to_owned(), NextStep::LogIn),
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

    /// Returns the number of seconds to wait before trying again, if waiting helps.
    #[must_use]
    pub const fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooManyRequests { retry_after, .. } => Some(*retry_after),
            Self::Busy(_) => Some(60),
            _ => None,
        }
    }

    /// Returns the refusal for an invalid field value.
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
