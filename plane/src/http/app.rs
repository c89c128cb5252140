//! The state that all requests to one plane share.
//!
//! Owns the handle to this state. Endpoint handlers must not take it as a parameter: they name a permission
//! (`principal`), which gives them access to the fleet.

use std::sync::Arc;

use ipnet::IpNet;
use tokio::sync::watch;
use wgctl::Pin;

use super::metrics::HttpMetrics;
use super::serve::body_budget::BodyBudget;
use crate::auth::{LoginThrottle, Passwords, Tokens, WriteThrottle};
use crate::config::{Config, Limits, Tls};
use crate::fleet::Fleet;
use crate::keys::root::RootKey;

/// The phase of a running plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The plane accepts connections.
    Serving,
    /// Running requests may finish, but no request may wait any longer.
    Draining,
    /// Connections that are still open are closed.
    Over,
}

/// A handle to the shared state. Clones share it.
#[derive(Clone)]
pub(crate) struct App(Arc<AppState>);

pub(super) struct AppState {
    pub(super) fleet: Fleet,
    pub(super) key: RootKey,
    pub(super) tokens: Tokens,
    pub(super) passwords: Passwords,
    pub(super) throttle: LoginThrottle,
    pub(super) writes: WriteThrottle,
    pub(super) looks: WriteThrottle,
    pub(super) limits: Limits,
    pub(super) bodies: Arc<BodyBudget>,
    pub(super) trusted_proxies: Vec<IpNet>,
    /// True if callers reach the plane over TLS, either its own or a proxy's.
    pub(super) is_secure: bool,
    /// The key that hosts must pin if no certificate authority vouches for the plane.
    pub(super) pin: Option<Pin>,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) metrics: HttpMetrics,
    /// Returns the OpenAPI document, which is generated on the first call.
    pub(super) document: fn() -> &'static str,
}

impl App {
    pub(crate) fn new(
        fleet: Fleet,
        key: RootKey,
        tokens: Tokens,
        passwords: Passwords,
        config: &Config,
        pin: Option<Pin>,
        document: fn() -> &'static str,
    ) -> Self {
        let metrics = HttpMetrics::new(&fleet, config.metrics.per_peer);
        Self(Arc::new(AppState {
            fleet,
            key,
            tokens,
            passwords,
            throttle: LoginThrottle::new(),
            writes: WriteThrottle::new(config.limits.writes_per_second, config.limits.write_burst),
            looks: WriteThrottle::new(config.limits.writes_per_second, config.limits.write_burst),
            bodies: BodyBudget::new(config.limits.max_body.max(config.limits.max_agent_body)),
            limits: config.limits.clone(),
            trusted_proxies: config.trusted_proxies.clone(),
            is_secure: config.tls != Tls::Off || config.behind_proxy,
            pin,
            phase: watch::Sender::new(Phase::Serving),
            metrics,
            document,
        }))
    }

    /// Returns the fleet, for background tasks.
    pub(crate) fn fleet(&self) -> Fleet {
        self.0.fleet.clone()
    }

    /// Erases the retired signing keys whose tokens have all expired, until the future is dropped.
    pub(crate) async fn keep_keys(self) {
        self.0.tokens.housekeep(|| self.0.fleet.now()).await;
    }

    /// Returns the metrics page for the separate address, or `None` if the metrics cannot be read.
    pub(crate) async fn metrics(&self) -> Option<String> {
        let page = self.0.metrics.page(&self.0.fleet).await;
        page.inspect_err(|error| tracing::error!("the metrics cannot be read: {error}"))
            .ok()
    }

    pub(super) fn shared(&self) -> &AppState {
        &self.0
    }

    /// Completes when no request may wait any longer.
    pub(super) async fn draining(&self) {
        // The sender lives as long as `self`, so only a new phase can end this wait.
        let _ = self
            .0
            .phase
            .subscribe()
            .wait_for(|phase| *phase != Phase::Serving)
            .await;
    }
}
