//! The fleet's business rules: what may be, who waits for it, what is written about it.
//!
//! Owns servers, clients, users and the agents' side of them. It must not know HTTP (it answers
//! with [`Refusal`]s, not statuses), nor how the store keeps things. What a change needs to know
//! is decided inside its transaction, before the first write.

mod agent;
mod audit;
mod clients;
mod idempotency;
mod refusal;
mod servers;
mod sessions;
mod status;
mod users;

use std::sync::Arc;
use std::time::Duration;

use wgctl::Timestamp;

pub use audit::{AuditPages, AuditQuery};
pub use clients::{ClientPage, ClientsQuery, ConfigurationText, View};
pub use idempotency::{Idempotency, Vault};
pub use refusal::Refusal;
pub use sessions::Account;
pub use status::{HistoryPages, HistoryQuery};
pub use users::{NewAccount, UserChange};

pub use crate::store::{Action, Actor, Caller};
use crate::store::{Store, StoreError};

/// What the operator may set.
#[derive(Clone)]
pub struct Settings {
    /// How long a change waits for the agent's confirmation.
    pub apply_timeout: Duration,
    /// How long an agent may take to answer a request, like for a configuration.
    pub request_timeout: Duration,
    /// Prekeys to hold for each server.
    pub prekey_stock: u32,
    /// What time it is.
    pub clock: fn() -> Timestamp,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            apply_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(10),
            prekey_stock: 32,
            clock: Timestamp::now,
        }
    }
}

/// The fleet. Cloning shares it.
#[derive(Clone)]
pub struct Fleet {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    settings: Settings,
}

impl Fleet {
    /// The fleet that `store` records.
    pub async fn open(store: Store, settings: Settings) -> Result<Self, StoreError> {
        todo!()
    }

    /// Whether changes can be made now, for `/readyz`.
    pub async fn ready(&self) -> Result<(), Refusal> {
        todo!()
    }

    /// Removes what has outlived its use (history past 72 h, old idempotency keys, throttles), now
    /// and every minute until dropped. To be spawned once.
    pub async fn housekeep(self) {
        todo!()
    }
}
