//! The long poll: receives changes to the desired state as soon as the plane has them.
//!
//! Owns the order of the conversation (introduce, poll, pass the state on, fill the stock of prekeys, answer
//! requests) and the reconnection after a failure. It must not apply the state: that belongs to `reconcile`. It
//! must not tear anything down because a plane is silent.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use wgctl::client::Error;
use wgctl::name::Incarnation;
use wgctl::protocol::v1::{Desired, DesiredQuery, Hello, Prekeys, Request, VERSION};
use wgctl::{PublicKey, ServerId};

use super::backoff::Backoff;
use super::key_claim::KeyClaim;
use super::plane_calls::Plane;
use super::planes::Planes;
use super::replies::answer;
use crate::desired::{Base, StepError};
use crate::metrics::Metrics;
use crate::reconcile::{Input, Position};
use crate::secrets::Secrets;

/// The time that a poll may wait for news, in seconds.
const WAIT: u32 = 25;
/// The maximum number of prekeys in one message, as defined by the protocol.
const PREKEYS_AT_ONCE: u32 = 256;

/// The reason why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Disconnect {
    /// The request failed or the plane refused it.
    #[error(transparent)]
    Plane(#[from] Error),
    /// The plane's response does not fit the state, even though the full state was requested.
    #[error(transparent)]
    StepError(#[from] StepError),
    /// The token belongs to a different server than the state on this host.
    #[error(
        "the token belongs to server {theirs}, but this host is {ours}: enroll it with a token for {ours}, \
         or give the agent another state_dir"
    )]
    AnotherServer {
        /// The server to which the token belongs.
        theirs: ServerId,
        /// The server to which the state belongs.
        ours: ServerId,
    },
    /// The reconciler has ended.
    #[error("the agent is stopping")]
    Stopping,
}

/// The polling side of the agent.
pub(super) struct Poller<P> {
    /// The planes to dial.
    pub planes: Planes<P>,
    /// The host's secrets.
    pub secrets: Arc<Secrets>,
    /// The reconciler's inbox.
    pub inbox: UnboundedSender<Input>,
    /// The position of the current state.
    pub position: watch::Receiver<Position>,
    /// The server that this host is enrolled as, once it is known from the cached state or the token.
    pub server: watch::Sender<Option<ServerId>>,
    /// The number of connections so far. Tasks that wait for a plane are notified through it.
    pub connected: watch::Sender<u64>,
    /// The agent's metrics.
    pub metrics: Metrics,
}

impl<P: Plane> Poller<P> {
    /// Polls until the reconciler ends.
    pub(super) async fn run(self) {
        let mut backoff = self.planes.backoff();
        loop {
            let Some(plane) = self.planes.current() else { return };
            let (began, connections) = (Instant::now(), *self.connected.borrow());
            let end = self.converse(&plane, &mut backoff).await;
            self.metrics.disconnected();
            let silent = matches!(&end, Disconnect::Plane(error) if error.status().is_none());
            match end {
                Disconnect::Stopping => return,
                Disconnect::Plane(error) if error.status() == Some(401) => tracing::error!(
                    "{} refuses this agent's token: create a new one (`wgctl server token SERVER`) and enroll again; \
                     tunnels stay as they are",
                    plane.target()
                ),
                end => tracing::warn!("{end}; tunnels stay as they are"),
            }
            if silent && *self.connected.borrow() == connections {
                self.planes.next_after_silence(began);
            } else {
                self.planes.next();
            }
            let wait = backoff.wait();
            self.metrics.waits(wait);
            tokio::time::sleep(wait).await;
        }
    }

    async fn converse(&self, plane: &P, backoff: &mut Backoff) -> Disconnect {
        let introduced = self.introduce(plane).await;
        self.metrics.dialled(introduced.is_ok());
        let server = match introduced {
            Ok(server) => server,
            Err(end) => return end,
        };
        tracing::info!(server = %server, "connected to {}", plane.target());
        self.connected.send_modify(|count| *count += 1);
        let (ours, mut claim) = (self.secrets.private_key().public_key(), KeyClaim::default());
        loop {
            let life = self.life();
            let recorded = match self.poll(plane, &server).await {
                Ok(recorded) => recorded,
                Err(end) => return end,
            };
            // A restored database may have recorded a different key for this host, or none.
            let is_restored = life.is_some() && life != self.life();
            if is_restored && let Err(end) = self.introduce(plane).await {
                return end;
            }
            // The response from a restored database contains the key that was recorded before this introduction.
            let recorded = recorded.filter(|_| !is_restored);
            if let Some(other) = recorded.filter(|other| claim.is_due(&ours, Some(other), Instant::now()))
                && let Err(end) = self.claim(plane, &server, &other).await
            {
                return end;
            }
            backoff.reset();
        }
    }

    /// Introduces this host again, because the plane has recorded another host's key. If the plane has seen too many
    /// keys for this server (status 429), the record is left unchanged for now and the conversation continues.
    async fn claim(&self, plane: &P, server: &ServerId, other: &PublicKey) -> Result<(), Disconnect> {
        tracing::warn!(
            "the plane has recorded another host's key for {server}, {other}: introducing this host again. Only one \
             host can be {server}: if another one has its token, stop the agent there and create a new token \
             (`wgctl server token {server}`)"
        );
        match self.introduce(plane).await {
            Err(Disconnect::Plane(error)) if error.status() == Some(429) => {
                tracing::warn!("{error}; this host will be introduced again later");
                Ok(())
            }
            introduced => introduced.map(drop),
        }
    }

    /// Returns the incarnation of the database to which the current state belongs.
    fn life(&self) -> Option<Incarnation> {
        self.position.borrow().map(|(life, _)| life)
    }

    async fn introduce(&self, plane: &P) -> Result<ServerId, Disconnect> {
        let hello = Hello {
            version: VERSION,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            public_key: self.secrets.private_key().public_key(),
        };
        let server = plane.hello(&hello).await?.server_id;
        if let Some(address) = plane.reached() {
            // The reconciler may have ended; the loop notices that.
            let _ = self.inbox.send(Input::PlaneReached(address));
        }
        let ours = self.server.borrow().clone();
        if let Some(ours) = ours.filter(|ours| *ours != server) {
            return Err(Disconnect::AnotherServer { theirs: server, ours });
        }
        self.server.send_replace(Some(server.clone()));
        Ok(server)
    }

    /// Polls once. Returns the public key that the plane has recorded for the server, if the response contains it.
    async fn poll(&self, plane: &P, server: &ServerId) -> Result<Option<PublicKey>, Disconnect> {
        let position = *self.position.borrow();
        match self.poll_since(plane, server, position).await? {
            Err(misfit) if position.is_some() => {
                tracing::warn!("{misfit}");
                Ok(self.poll_since(plane, server, None).await??)
            }
            outcome => Ok(outcome?),
        }
    }

    /// Polls for changes since `position`, or for the full state if it is `None`, and passes the response to the
    /// reconciler.
    async fn poll_since(
        &self,
        plane: &P,
        server: &ServerId,
        position: Position,
    ) -> Result<Result<Option<PublicKey>, StepError>, Disconnect> {
        let query = DesiredQuery {
            revision: position.map_or(0, |(_, revision)| revision),
            incarnation: position.map(|(incarnation, _)| incarnation),
            wait: WAIT,
        };
        let mut desired = plane.desired(&query).await?;
        for request in std::mem::take(&mut desired.requests) {
            self.answer(plane, server, request);
        }
        let (wanted, recorded) = (desired.prekeys_wanted, desired.public_key);
        let base = position.map_or(Base::Nothing, |_| Base::Here);
        let outcome = self.wait_until_carried_out(server, desired, base).await?;
        // The plane discards its stock of prekeys when this host's introduction replaces another host's key, so
        // prekeys are sent only afterwards.
        let is_ours = || recorded.is_none_or(|key| key == self.secrets.private_key().public_key());
        if wanted > 0 && is_ours() {
            self.fill(plane, server, wanted).await?;
        }
        Ok(outcome.map(|()| recorded))
    }

    async fn wait_until_carried_out(
        &self,
        server: &ServerId,
        desired: Desired,
        base: Base,
    ) -> Result<Result<(), StepError>, Disconnect> {
        let (done, carried_out) = oneshot::channel();
        let input = Input::Desired {
            server: server.clone(),
            desired: Box::new(desired),
            base,
            done,
        };
        self.inbox.send(input).map_err(|_| Disconnect::Stopping)?;
        carried_out.await.map_err(|_| Disconnect::Stopping)
    }

    /// Replies to the request in a separate task, so that neither the waiting user nor the next poll is delayed.
    fn answer(&self, plane: &P, server: &ServerId, request: Request) {
        let (plane, server, secrets) = (plane.clone(), server.clone(), Arc::clone(&self.secrets));
        tokio::spawn(async move {
            let reply = answer(&secrets, &server, request.ask);
            if let Err(error) = plane.reply(request.id, &reply).await {
                tracing::warn!("a reply was not delivered: {error}");
            }
        });
    }

    async fn fill(&self, plane: &P, server: &ServerId, wanted: u32) -> Result<(), Disconnect> {
        let mut prekeys = Vec::new();
        for _ in 0..wanted.min(PREKEYS_AT_ONCE) {
            match self.secrets.prekey(server) {
                Ok(prekey) => prekeys.push(prekey),
                Err(error) => {
                    tracing::error!("cannot generate prekeys: {error}");
                    return Ok(());
                }
            }
            // Generating a key takes long enough that other tasks should run in between.
            tokio::task::yield_now().await;
        }
        self.metrics.prekeys_made(prekeys.len());
        Ok(plane.prekeys(&Prekeys { prekeys }).await?)
    }
}

#[cfg(test)]
mod tests;
