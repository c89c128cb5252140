//! The fleet's business rules: what may be, who waits for it, what is written about it.
//!
//! Owns servers, clients, users and the agents' side of them. It must not know HTTP (it answers
//! with [`Refusal`]s, not statuses), nor how the store keeps things. What a change needs to know
//! is decided inside its transaction, before the first write.

mod adoption;
mod agent;
mod agent_token;
mod audit;
mod authority;
mod backfill;
mod backup;
mod checks;
mod clients;
mod confirm;
mod desired;
mod drift;
mod flood;
mod idempotency;
mod measured;
mod numbers;
mod peers;
mod refusal;
mod report;
mod servers;
mod sessions;
mod show;
mod status;
mod throttle;
mod tokens;
mod users;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tracing::Instrument as _;
use wgctl::{Clock, ServerId, Timestamp};

pub use agent_token::AGENT_PREFIX;
pub use audit::{AuditPages, AuditQuery};
pub use authority::require;
pub use backup::Copy;
pub use clients::{After, ClientPage, ClientsQuery, ConfigurationText, View};
pub use idempotency::{Idempotency, Vault};
pub use refusal::Refusal;
pub use servers::no_server;
pub use sessions::Account;
pub use status::{HistoryPages, HistoryQuery};
pub use throttle::{LoginPermit, customer};
pub use tokens::{Grant, PREFIX as TOKEN_PREFIX, Scope};
pub use users::{NewAccount, UserChange};

use crate::history;
use crate::relay::Relay;
use crate::store::prelude::*;
pub use crate::store::{Action, Actor, Authority, Caller};
use crate::store::{Changing, Done, Reading, Recording, Store, StoreError};

/// How many outlived rows are removed in one transaction.
const SWEEP: usize = 1000;

/// What the operator may set.
#[derive(Clone)]
pub struct Settings {
    /// How long a change waits for the agent's confirmation.
    pub apply_timeout: Duration,
    /// How long an agent may take to answer a request, like for a configuration.
    pub request_timeout: Duration,
    /// Prekeys to hold for each server.
    pub prekey_stock: u32,
    /// How long records of the audit log are kept; none for ever.
    pub audit_retention: Option<Duration>,
    /// What time it is.
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

/// The fleet. Cloning shares it.
#[derive(Clone)]
pub struct Fleet {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    relay: Relay,
    logins: throttle::Logins,
    drift_log: drift::Allowance,
    keys: agent::Keys,
    token_uses: tokens::Uses,
    floods: flood::Floods,
    copies: Arc<Semaphore>,
    verifications: Semaphore,
    measured: measured::Measured,
    settings: Settings,
}

impl Fleet {
    /// The fleet that `store` records.
    #[must_use]
    pub fn new(store: Store, settings: Settings) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                relay: Relay::default(),
                logins: throttle::Logins::default(),
                drift_log: drift::Allowance::default(),
                keys: agent::Keys::default(),
                token_uses: tokens::Uses::default(),
                floods: flood::Floods::default(),
                copies: Arc::new(Semaphore::new(backup::COPIES)),
                verifications: Semaphore::new(1),
                measured: measured::Measured::default(),
                settings,
            }),
        }
    }

    /// Whether changes can be made now, for `/readyz`.
    pub async fn ready(&self) -> Result<(), Refusal> {
        let idle = self.store().record(async |_: &Recording<'_>| Ok::<(), Refusal>(()));
        match tokio::time::timeout(Duration::from_secs(5), idle).await {
            Ok(outcome) => outcome,
            Err(_) => Err(StoreError::Unavailable("the writer did not answer within 5 s".to_owned()).into()),
        }
    }

    /// How many agents hold a poll now.
    #[must_use]
    pub fn connected_agents(&self) -> usize {
        self.shared.relay.polls()
    }

    /// Removes what has outlived its use (history past 72 h, old idempotency keys, penalties), now
    /// and every minute until dropped. To be spawned once.
    pub async fn housekeep(self) {
        let mut minute = tokio::time::interval(Duration::from_secs(60));
        minute.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            minute.tick().await;
            if let Err(error) = self.sweep().await {
                tracing::warn!("old records could not be removed ({error}); the next try is in a minute");
            }
            if let Err(error) = self.keep_audit().await {
                tracing::warn!(%error, "the audit log could not be looked after; the next try is in a minute");
            }
        }
    }

    /// Removes what has outlived its use.
    pub(crate) async fn sweep(&self) -> Result<(), Refusal> {
        let now = self.now();
        let (oldest, _) = history::place(now.before(history::RETENTION));
        self.store()
            .record(async move |tx: &Recording<'_>| tx.erase_hours_before(oldest).await)
            .await
            .map_err(Refusal::Store)?;
        loop {
            let swept = self
                .store()
                .record(async move |tx: &Recording<'_>| sweep_some(tx, now).await)
                .await;
            if swept? < SWEEP {
                return Ok(());
            }
        }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.shared.store
    }

    fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    fn now(&self) -> Timestamp {
        self.shared.settings.clock.now()
    }

    /// Makes a change, where the caller may still make it when its turn comes.
    async fn change<T: Send + 'static>(
        &self,
        caller: &Caller,
        change: impl AsyncFnOnce(&Changing) -> Result<Done<T>, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (authority, now) = (caller.authority.clone(), self.now());
        let permitted = async move |tx: &Changing| {
            authority::check(tx, &authority, now).await?;
            change(tx).await
        };
        self.store().change(caller, now, permitted).await
    }

    /// Records what an agent says, where its token is good when its turn comes.
    async fn record_of_agent<T: Send + 'static>(
        &self,
        caller: &Caller,
        server: &ServerId,
        durability: Durability,
        record: impl AsyncFnOnce(&Recording<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let turn = self.shared.relay.line(server).turn().await;
        let (authority, now) = (caller.authority.clone(), self.now());
        let permitted = async move |tx: &Recording<'_>| {
            let _turn = turn;
            authority::check(tx, &authority, now).await?;
            record(tx).await
        };
        match durability {
            Durability::Lazy => self.store().record(permitted).await,
            Durability::Durable => self.store().record_durably(permitted).await,
        }
    }

    /// Makes a change that an agent asks for, when its turn comes.
    async fn change_of_agent<T: Send + 'static>(
        &self,
        caller: &Caller,
        server: &ServerId,
        change: impl AsyncFnOnce(&Changing) -> Result<Done<T>, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let turn = self.shared.relay.line(server).turn().await;
        let in_turn = async move |tx: &Changing| {
            let _turn = turn;
            change(tx).await
        };
        self.change(caller, in_turn).await
    }

    /// Reads for an agent what takes long, when its turn comes.
    async fn scan_for_agent<T: Send + 'static>(
        &self,
        server: &ServerId,
        read: impl AsyncFnOnce(&Reading) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let turn = self.shared.relay.line(server).look().await;
        let in_turn = async move |tx: &Reading| {
            let _turn = turn;
            read(tx).await
        };
        self.store().scan(in_turn).await
    }

    /// Makes a change to a server's desired state and tells its agent, even if the caller goes away
    /// between the two.
    async fn change_desired<T: Send + 'static>(
        &self,
        caller: &Caller,
        server: &ServerId,
        change: impl AsyncFnOnce(&Changing) -> Result<Done<T>, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (fleet, caller, server) = (self.clone(), caller.clone(), server.clone());
        let told = async move {
            let made = fleet.change(&caller, change).await?;
            fleet.was_committed(&server);
            fleet.shared.relay.line(&server).wake_agent();
            Ok(made)
        };
        to_its_end(told).await
    }
}

/// How much may be lost of what is recorded.
#[derive(Debug, Clone, Copy)]
enum Durability {
    /// The last seconds, in a crash.
    Lazy,
    /// Nothing that was acknowledged.
    Durable,
}

/// Carries out what must not stop in its middle, even if the caller goes away.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    // The log's lines stay with their request.
    let done = tokio::spawn(work.in_current_span());
    done.await
        .unwrap_or_else(|error| Err(Refusal::Internal(format!("it was interrupted: {error}"))))
}

async fn sweep_some(tx: &impl Record, now: Timestamp) -> Result<usize, Refusal> {
    let answers = tx.sweep_answers(now.before(idempotency::KEPT), SWEEP).await?;
    let penalties = tx.sweep_penalties(now.before(throttle::FORGOTTEN), SWEEP).await?;
    Ok(answers.max(penalties))
}

#[cfg(test)]
mod tests;
