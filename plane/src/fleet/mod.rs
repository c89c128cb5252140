//! The fleet's business rules: permissions, changes, waits for agents, and audit entries.
//!
//! Owns the rules for servers, peers, users and agents. It must not depend on HTTP (it returns
//! [`Refusal`]s, not status codes) or on how the store represents its rows. Everything that a change
//! depends on is checked inside the change's transaction, before the first write.

mod agents;
mod audit;
mod backup;
mod field_checks;
mod housekeeping;
mod idempotency;
mod limits;
mod peers;
mod people;
mod refusal;
pub(crate) mod servers;
mod views;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tracing::Instrument as _;
use wgctl::{Clock, ServerId, Timestamp};

pub use audit::pages::{AuditPages, AuditQuery};
pub use backup::BackupCopy;
pub use idempotency::{Idempotency, Vault};
pub use limits::failed_logins::LoginPermit;
pub use peers::requests::{After, ConfigurationText, PeerPage, PeersQuery, View};
pub use people::api_tokens::{Grant, PREFIX as TOKEN_PREFIX, Scope};
pub use people::authority::require;
pub use people::logins::Account;
pub use people::users::{NewAccount, UserChange};
pub use refusal::Refusal;
pub use servers::agent_token::AGENT_PREFIX;
pub use servers::existing::no_server;
pub use views::status::{HistoryPages, HistoryQuery};

pub use crate::model::authority::Authority;
pub use crate::model::caller::{Action, Actor, Caller};
use crate::relay::Relay;
use crate::store::{Change, Durability, Store, StoreError};
use crate::store::{DurableWrite, LossyWrite, Read};

/// The settings that the operator chooses.
#[derive(Clone)]
pub struct Settings {
    /// The longest time for which a change waits for the agent's confirmation.
    pub apply_timeout: Duration,
    /// The longest time for which a request, such as one for a configuration, waits for the agent's reply.
    pub request_timeout: Duration,
    /// The number of prekeys to keep in stock for each server.
    pub prekey_stock: u32,
    /// The time for which audit records are kept; `None` keeps them forever.
    pub audit_retention: Option<Duration>,
    /// The source of the current time.
    pub clock: Clock,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            apply_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(10),
            prekey_stock: 32,
            audit_retention: None,
            clock: Clock::default(),
        }
    }
}

/// A handle to the fleet. Clones share the same fleet.
#[derive(Clone)]
pub struct Fleet {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    relay: Relay,
    limits: limits::Limits,
    copies: Arc<Semaphore>,
    verifications: Semaphore,
    apply_latency: views::apply_latency::ApplyLatency,
    settings: Settings,
}

impl Fleet {
    /// Returns a fleet that keeps its records in `store`.
    #[must_use]
    pub fn new(store: Store, settings: Settings) -> Self {
        let relay = Relay::default();
        let follower = relay.clone();
        store.follow(move |writes| follower.follow(writes.effects()));
        Self {
            shared: Arc::new(Shared {
                store,
                relay,
                limits: limits::Limits::default(),
                copies: Arc::new(Semaphore::new(backup::COPIES)),
                verifications: Semaphore::new(1),
                apply_latency: views::apply_latency::ApplyLatency::default(),
                settings,
            }),
        }
    }

    /// Checks that changes can be made now, for `/readyz`.
    pub async fn ready(&self) -> Result<(), Refusal> {
        let idle = self.store().record(|_: &dyn LossyWrite| Ok::<(), Refusal>(()));
        match tokio::time::timeout(Duration::from_secs(5), idle).await {
            Ok(outcome) => outcome,
            Err(_) => Err(StoreError::Unavailable("the writer did not answer within 5 s".to_owned()).into()),
        }
    }

    /// Returns the number of polls that agents currently hold open.
    #[must_use]
    pub fn open_polls(&self) -> usize {
        self.shared.relay.polls()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.shared.store
    }

    fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Returns the current time according to the fleet's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.shared.settings.clock.now()
    }

    /// Makes a change. The caller's authority is checked again inside the transaction.
    async fn change<T: Send + 'static>(
        &self,
        caller: &Caller,
        change: impl FnOnce(&dyn DurableWrite) -> Result<Change<T>, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (authority, now) = (caller.authority.clone(), self.now());
        let permitted = move |tx: &dyn DurableWrite| {
            people::authority::check(tx, &authority, now)?;
            change(tx)
        };
        self.store().change(caller, now, permitted).await
    }

    /// Records a message from an agent, once one of the agent's write permits is available. The agent's
    /// token is checked again inside the transaction.
    async fn record_of_agent<T: Send + 'static>(
        &self,
        caller: &Caller,
        server: &ServerId,
        durability: Durability,
        record: impl FnOnce(&dyn LossyWrite) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let turn = self.shared.relay.waiters(server).write_permit().await;
        let (authority, now) = (caller.authority.clone(), self.now());
        let permitted = move |tx: &dyn LossyWrite| {
            let _turn = turn;
            people::authority::check(tx, &authority, now)?;
            record(tx)
        };
        match durability {
            Durability::Lazy => self.store().record(permitted).await,
            Durability::Durable => self.store().record_durably(permitted).await,
        }
    }

    /// Makes a change that an agent requests, once one of the agent's write permits is available.
    async fn change_of_agent<T: Send + 'static>(
        &self,
        caller: &Caller,
        server: &ServerId,
        change: impl FnOnce(&dyn DurableWrite) -> Result<Change<T>, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let turn = self.shared.relay.waiters(server).write_permit().await;
        let in_turn = move |tx: &dyn DurableWrite| {
            let _turn = turn;
            change(tx)
        };
        self.change(caller, in_turn).await
    }

    /// Reads a large amount of data for an agent, once one of its read permits is available.
    async fn scan_for_agent<T: Send + 'static>(
        &self,
        server: &ServerId,
        read: impl FnOnce(&dyn Read) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let turn = self.shared.relay.waiters(server).read_permit().await;
        let in_turn = move |tx: &dyn Read| {
            let _turn = turn;
            read(tx)
        };
        self.store().scan(in_turn).await
    }
}

/// Runs `work` to completion, even if the caller's future is dropped.
async fn run_to_completion<T: Send + 'static>(
    work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    // Log lines from the work stay in the request's span.
    let done = tokio::spawn(work.in_current_span());
    done.await
        .unwrap_or_else(|error| Err(Refusal::Internal(format!("the work was interrupted: {error}"))))
}

#[cfg(test)]
mod tests;
