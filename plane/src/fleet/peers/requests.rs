//! Requests concerning a server's peers: listing, creating, changing and removing them, and their
//! configurations.
//!
//! Owns a request's wait for the agent. It must not decide whether a change is permitted: `rules` does.

use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;
use std::sync::Arc;

use tokio::time::Instant;
use wgctl::address::host;
use wgctl::api::{NewPeer, Peer, PeerPatch};
use wgctl::config::{PeerConfig, PeerConfigError};
use wgctl::name::NameError;
use wgctl::protocol::v1::{Ask, PeerConfiguration, Reply};
use wgctl::{PeerId, PeerName, PrivateKey, PublicKey, ServerId, Timestamp};
use zeroize::Zeroizing;

use super::rules;
use super::rules::{CreateOutcome, no_peer};
use crate::fleet::agents::failure_reason::reason_line;
use crate::fleet::servers::existing::{existing, no_server};
use crate::fleet::views::api_objects;
use crate::fleet::{Caller, Fleet, Idempotency, Refusal};
use crate::model::caller::{Action, Entry};
use crate::model::records::{PeerRecord, PeerState, ServerRecord};
use crate::relay::{Outcome, PrekeyWait, Waiters};
use crate::store::DurableWrite;
use crate::store::{Change, Read};

/// A query for peers.
#[derive(Debug, Clone, Default)]
pub struct PeersQuery {
    /// Only peers whose name contains this text, ignoring case, or whose address, key or id is exactly
    /// this text.
    pub q: Option<String>,
    /// The maximum number of peers; `None` returns all of them.
    pub limit: Option<usize>,
    /// Only peers after this point in the order of creation, which is `next` from the previous page.
    pub after: Option<After>,
}

/// The point after which a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// After this peer, which must exist.
    Peer(PeerId),
    /// After this place in the order of creation, even if the peer there has since been removed.
    Place(u64),
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(id) => write!(f, "{id}"),
            Self::Place(place) => write!(f, "{place}"),
        }
    }
}

impl FromStr for After {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.parse() {
            Ok(place) => Ok(Self::Place(place)),
            Err(_) => text.parse().map(Self::Peer),
        }
    }
}

/// A page of peers, in order of creation.
#[derive(Debug, Clone)]
pub struct PeerPage {
    /// The peers.
    pub peers: Vec<Peer>,
    /// The value of `after` for the next page; `None` on the last page.
    pub next: Option<After>,
}

/// The form in which a configuration is requested. The audit log records the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The configuration file.
    Configuration,
    /// The QR code, available only for a peer whose private key the agent holds.
    Qrcode,
}

/// A peer's wg-quick configuration. It contains secrets.
pub struct ConfigurationText {
    /// The peer's name, from which the file name is derived.
    pub name: PeerName,
    /// The text of the configuration.
    pub text: Zeroizing<String>,
}

impl Fleet {
    /// Returns the peers of a server, in order of creation.
    pub async fn peers(&self, server: &ServerId, query: PeersQuery) -> Result<PeerPage, Refusal> {
        let (server, now) = (server.clone(), self.now());
        self.store()
            .scan(move |tx: &dyn Read| list(tx, &server, &query, now))
            .await
    }

    /// Returns one peer.
    pub fn peer(&self, server: &ServerId, id: &PeerId) -> Result<Peer, Refusal> {
        let now = self.now();
        self.store().read(|tx| {
            existing(tx, server)?;
            let peer = tx.peer(server, id)?.ok_or_else(|| no_peer(id))?;
            one(tx, server, peer, now)
        })
    }

    /// Creates a peer. Waits for the agent's confirmation for as long as the settings allow.
    pub async fn create_peer(
        &self,
        caller: &Caller,
        server: &ServerId,
        new: NewPeer,
        once: Option<Idempotency>,
    ) -> Result<Peer, Refusal> {
        let (peer, revision) = self.make_peer(caller, server, new, once).await?;
        self.wait_until_confirmed(server, revision).await?;
        match self.peer(server, &peer.id) {
            // The peer was created, but has been removed in the meantime.
            Err(Refusal::NotFound { .. }) => Ok(peer),
            shown => shown,
        }
    }

    /// Tries to create a peer until a prekey is available, or until it is clear that none will arrive.
    async fn make_peer(
        &self,
        caller: &Caller,
        server: &ServerId,
        new: NewPeer,
        once: Option<Idempotency>,
    ) -> Result<(Peer, u64), Refusal> {
        let deadline = Instant::now() + self.settings().apply_timeout;
        let mut waiting = None;
        loop {
            // Subscribes before the attempt, so that a wake during the attempt is not missed.
            let mut news = waiting
                .as_ref()
                .map(|(waiters, _): &(Arc<Waiters>, PrekeyWait)| waiters.people_news());
            let (id, new, once, now) = (server.clone(), new.clone(), once.clone(), self.now());
            let attempt = self.change(caller, move |tx: &dyn DurableWrite| {
                rules::create(tx, &id, new, once, now)
            });
            if let CreateOutcome::Peer(peer, revision) = attempt.await? {
                return Ok((*peer, revision));
            }
            let waiters = self.shared.relay.waiters(server);
            if !waiters.connected() {
                return Err(Refusal::NoPrekeys(server.to_string()));
            }
            match &mut news {
                None => {
                    let wanting = waiters.want_prekey();
                    waiting = Some((waiters, wanting));
                }
                Some(news) => {
                    if tokio::time::timeout_at(deadline, news.changed()).await.is_err() {
                        return Err(offline(
                            server,
                            "did not send prekeys in time: try again, and check its log if this persists",
                        ));
                    }
                }
            }
        }
    }

    /// Enables or disables a peer, and waits for the confirmation. Idempotent.
    pub async fn enable_peer(
        &self,
        caller: &Caller,
        server: &ServerId,
        id: &PeerId,
        enabled: bool,
    ) -> Result<Peer, Refusal> {
        let patch = PeerPatch {
            enabled: Some(enabled),
            ..PeerPatch::default()
        };
        self.update_peer(caller, server, id, patch).await
    }

    /// Changes a peer, and waits for the confirmation.
    pub async fn update_peer(
        &self,
        caller: &Caller,
        server: &ServerId,
        id: &PeerId,
        patch: PeerPatch,
    ) -> Result<Peer, Refusal> {
        let (server_id, peer, now) = (server.clone(), *id, self.now());
        let change = move |tx: &dyn DurableWrite| rules::update(tx, &server_id, &peer, patch, now);
        if let Some(revision) = self.change(caller, change).await? {
            self.wait_until_confirmed(server, revision).await?;
        }
        self.peer(server, id)
    }

    /// Removes a peer, and waits for the confirmation. Returns whether the agent confirmed the removal
    /// in time.
    pub async fn remove_peer(&self, caller: &Caller, server: &ServerId, id: &PeerId) -> Result<bool, Refusal> {
        let (server_id, peer) = (server.clone(), *id);
        let change = move |tx: &dyn DurableWrite| rules::remove(tx, &server_id, &peer);
        let revision = self.change(caller, change).await?;
        self.wait_until_confirmed(server, revision).await
    }

    /// Returns a peer's configuration, with the keys that its server's agent has unsealed.
    pub async fn configuration(
        &self,
        caller: &Caller,
        server: &ServerId,
        id: &PeerId,
        view: View,
    ) -> Result<ConfigurationText, Refusal> {
        let (record, peer) = self.store().read(|tx| {
            let (record, _) = existing(tx, server)?;
            let peer = tx.peer(server, id)?.ok_or_else(|| no_peer(id))?;
            Ok::<_, Refusal>((record, peer))
        })?;
        if view == View::Qrcode && peer.private_key.is_none() {
            return Err(Refusal::PrivateKeyNotHeld(peer.name.to_string()));
        }
        let waiters = self.shared.relay.waiters(server);
        if !waiters.connected() {
            return Err(offline(
                server,
                "is not connected, and only the agent can write configurations: start it and try again",
            ));
        }
        let name = peer.name.clone();
        let asked = question(&record, peer);
        let answer = waiters.ask(Ask::Configuration(asked.clone()));
        let text = match answer.wait(self.settings().request_timeout).await {
            Outcome::Replied(Reply::Configuration { text }) => {
                let text = Zeroizing::new(text);
                let checked = check_answer(&text, asked, record.public_key);
                checked.map_err(|reason| {
                    tracing::error!(%server, client = %name, "the agent's configuration differs from the request: {reason}");
                    offline(server, &format!("returned a configuration that differs from the request ({reason}): check its host"))
                })?
            }
            Outcome::Replied(Reply::Failed { reason }) => {
                let reason = reason_line(&reason);
                return Err(offline(server, &format!("could not write the configuration: {reason}")));
            }
            Outcome::Silent => {
                return Err(offline(
                    server,
                    "did not answer in time: try again, and check its log if this persists",
                ));
            }
        };
        self.note_view(caller, server, &name, view).await?;
        Ok(ConfigurationText { name, text })
    }

    /// Records that a secret is about to be shown.
    async fn note_view(&self, caller: &Caller, server: &ServerId, name: &PeerName, view: View) -> Result<(), Refusal> {
        let action = match view {
            View::Configuration => Action::PeerConfigViewed,
            View::Qrcode => Action::PeerQrcodeViewed,
        };
        let entry = Entry::new(action, format!("{server}/{name}"));
        self.change(caller, move |_: &dyn DurableWrite| Ok(Change::new((), entry)))
            .await
    }
}

fn offline(server: &ServerId, detail: &str) -> Refusal {
    Refusal::AgentOffline {
        server: server.to_string(),
        detail: detail.to_owned(),
    }
}

fn question(server: &ServerRecord, peer: PeerRecord) -> PeerConfiguration {
    PeerConfiguration {
        id: peer.id,
        name: peer.name,
        public_key: peer.public_key,
        private_key: peer.private_key,
        preshared_key: peer.preshared_key,
        addresses: peer.addresses.into_iter().map(host).collect(),
        dns: peer.dns,
        mtu: peer.mtu,
        allowed_ips: peer.allowed_ips,
        endpoint: server.endpoint.clone(),
        persistent_keepalive: peer.persistent_keepalive,
    }
}

/// Renders the configuration again, after checking that the agent's text contains exactly the requested
/// values and the keys. An agent whose host or token is compromised must not choose the commands that a
/// device runs or the host that it connects to. The reason for a refusal is logged, so it must not
/// quote the text, which may contain a key anywhere.
fn check_answer(
    text: &str,
    asked: PeerConfiguration,
    server_key: Option<PublicKey>,
) -> Result<Zeroizing<String>, String> {
    let theirs: PeerConfig = text
        .parse()
        .map_err(|_: PeerConfigError| "it is not a device configuration".to_owned())?;
    let opened = theirs.private_key.as_ref().map(PrivateKey::public_key);
    if opened != asked.private_key.as_ref().map(|_| asked.public_key) {
        return Err("its private key is not this client's".to_owned());
    }
    if theirs.preshared_key.is_some() != asked.preshared_key.is_some() {
        return Err("its preshared key is missing, or it has one that it should not have".to_owned());
    }
    let ours = PeerConfig {
        name: asked.name,
        addresses: asked.addresses,
        dns: asked.dns,
        mtu: asked.mtu,
        public_key: server_key.ok_or("the host has sent no key yet")?,
        allowed_ips: asked.allowed_ips,
        endpoint: asked.endpoint,
        // A keepalive interval of 0 means off and is not written.
        persistent_keepalive: asked.persistent_keepalive.filter(|seconds| *seconds > 0),
        private_key: theirs.private_key.clone(),
        preshared_key: theirs.preshared_key.clone(),
    };
    if ours.public_key != theirs.public_key {
        return Err(format!(
            "it is for a host with the key {}, but the recorded key is {}: did a second host enroll as this server?",
            theirs.public_key, ours.public_key
        ));
    }
    if ours != theirs {
        return Err("its addresses, networks or settings differ".to_owned());
    }
    Ok(ours.render())
}

fn list(tx: &dyn Read, server: &ServerId, query: &PeersQuery, now: Timestamp) -> Result<PeerPage, Refusal> {
    tx.server(server)?.ok_or_else(|| no_server(server))?;
    let limit = query.limit.unwrap_or(usize::MAX);
    if limit == 0 {
        return Err(Refusal::field_value("limit", "0 is not a page size: give 1 or more"));
    }
    let after = match &query.after {
        Some(After::Peer(id)) => tx.peer(server, id)?.ok_or_else(|| no_peer(id))?.place,
        Some(After::Place(place)) => *place,
        None => 0,
    };
    let wanted = query.q.as_deref().map(str::to_lowercase);
    let mut found: Vec<PeerRecord> = Vec::new();
    let mut more = false;
    tx.each_peer(server, after, &mut |peer| {
        if wanted.as_deref().is_none_or(|text| matches(&peer, text)) {
            if found.len() == limit {
                more = true;
                return Ok(ControlFlow::Break(()));
            }
            found.push(peer);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let next = found.last().filter(|_| more).map(|peer| After::Place(peer.place));
    let confirmation = tx.confirmation(server)?;
    let states = tx.peers_with_counters(server, found)?.into_iter();
    let peers = states.map(|state| api_objects::peer(state, &confirmation, now));
    Ok(PeerPage {
        peers: peers.collect::<Result<_, _>>()?,
        next,
    })
}

fn one(tx: &dyn Read, server: &ServerId, peer: PeerRecord, now: Timestamp) -> Result<Peer, Refusal> {
    let state = PeerState {
        counters: tx.counters(server, &peer.id)?,
        failed: tx.failure(server, &peer.id)?,
        peer,
    };
    api_objects::peer(state, &tx.confirmation(server)?, now)
}

/// Returns whether a peer matches a search; `text` is in lower case.
fn matches(peer: &PeerRecord, text: &str) -> bool {
    peer.name.as_str().to_lowercase().contains(text)
        || peer.addresses.iter().any(|address| address.to_string() == text)
        || peer.public_key.to_string().to_lowercase() == text
        || peer.id.to_string() == text
}
