//! The long poll: what the plane wants, as soon as it wants it.
//!
//! Owns the conversation's order: introduce, fill the stock of prekeys, poll, hand over, answer
//! requests; and coming back after a failure. What is handed over is `reconcile`'s; nothing is torn
//! down because nobody answers.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use wgctl::ServerId;
use wgctl::client::Error;
use wgctl::name::Incarnation;
use wgctl::protocol::v1::{Desired, DesiredQuery, Hello, Prekeys, Request, VERSION};

use crate::conversation::backoff::Backoff;
use crate::conversation::plane::Plane;
use crate::conversation::planes::Planes;
use crate::conversation::replies::answer;
use crate::desired::{Base, StepError};
use crate::metrics::Metrics;
use crate::reconcile::{Input, Position};
use crate::secrets::Secrets;

/// Seconds a poll may wait for news.
const WAIT: u32 = 25;
/// Prekeys sent at once, as the protocol allows.
const PREKEYS_AT_ONCE: u32 = 256;

/// What ends one connection.
#[derive(Debug, thiserror::Error)]
enum Disconnect {
    /// The plane failed or refused.
    #[error(transparent)]
    Plane(#[from] Error),
    /// The plane answers what does not fit though everything was asked for.
    #[error(transparent)]
    StepError(#[from] StepError),
    /// The token is of another server than the state on this host.
    #[error(
        "the token is of server {theirs}, but this host is {ours}: enroll it with a token of {ours}, or give the agent another state_dir"
    )]
    AnotherServer {
        /// The token's.
        theirs: ServerId,
        /// The state's.
        ours: ServerId,
    },
    /// The reconciler has ended.
    #[error("the agent is stopping")]
    Stopping,
}

/// The polling side of the agent.
pub(super) struct Poller<P> {
    /// Whom to dial.
    pub planes: Planes<P>,
    /// The host's secrets.
    pub secrets: Arc<Secrets>,
    /// Where answers go.
    pub inbox: UnboundedSender<Input>,
    /// What is here already.
    pub position: watch::Receiver<Position>,
    /// Whose agent this is, once known: by the state that is here, or by the token.
    pub server: watch::Sender<Option<ServerId>>,
    /// Told whenever a plane took the introduction: whoever waits for a plane begins.
    pub connected: watch::Sender<u64>,
    /// What is measured.
    pub metrics: Metrics,
}

impl<P: Plane> Poller<P> {
    /// Polls until the reconciler ends.
    pub(super) async fn run(self) {
        let mut backoff = self.planes.backoff();
        loop {
            let Some(client) = self.planes.current() else { return };
            let (began, connections) = (Instant::now(), *self.connected.borrow());
            let end = self.converse(&client, &mut backoff).await;
            self.metrics.disconnected();
            let silent = matches!(&end, Disconnect::Plane(error) if error.status().is_none());
            match end {
                Disconnect::Stopping => return,
                Disconnect::Plane(error) if error.status() == Some(401) => tracing::error!(
                    "{} refuses this agent's token: make a new one (`wgctl server token SERVER`) and enroll again; \
                     tunnels stay as they are",
                    client.target()
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

    async fn converse(&self, client: &P, backoff: &mut Backoff) -> Disconnect {
        let introduced = self.introduce(client).await;
        self.metrics.dialled(introduced.is_ok());
        let server = match introduced {
            Ok(server) => server,
            Err(end) => return end,
        };
        tracing::info!(server = %server, "connected to {}", client.target());
        self.connected.send_modify(|count| *count += 1);
        loop {
            let life = self.life();
            if let Err(end) = self.poll(client, &server).await {
                return end;
            }
            // A database that was restored may have another key of this host on record, or none.
            if life.is_some()
                && life != self.life()
                && let Err(end) = self.introduce(client).await
            {
                return end;
            }
            backoff.reset();
        }
    }

    /// The life of the database that the state here is of.
    fn life(&self) -> Option<Incarnation> {
        self.position.borrow().map(|(life, _)| life)
    }

    async fn introduce(&self, client: &P) -> Result<ServerId, Disconnect> {
        let hello = Hello {
            version: VERSION,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            public_key: self.secrets.private_key().public_key(),
        };
        let server = client.hello(&hello).await?.server_id;
        let ours = self.server.borrow().clone();
        if let Some(ours) = ours.filter(|ours| *ours != server) {
            return Err(Disconnect::AnotherServer { theirs: server, ours });
        }
        self.server.send_replace(Some(server.clone()));
        Ok(server)
    }

    async fn poll(&self, client: &P, server: &ServerId) -> Result<(), Disconnect> {
        let position = *self.position.borrow();
        match self.poll_since(client, server, position).await? {
            Err(misfit) if position.is_some() => {
                tracing::warn!("{misfit}");
                Ok(self.poll_since(client, server, None).await??)
            }
            outcome => Ok(outcome?),
        }
    }

    /// Asks for what is new since `position`, for everything without one, and hands it over.
    async fn poll_since(
        &self,
        client: &P,
        server: &ServerId,
        position: Position,
    ) -> Result<Result<(), StepError>, Disconnect> {
        let query = DesiredQuery {
            revision: position.map_or(0, |(_, revision)| revision),
            incarnation: position.map(|(incarnation, _)| incarnation),
            wait: WAIT,
        };
        let mut desired = client.desired(&query).await?;
        for request in std::mem::take(&mut desired.requests) {
            self.answer(client, server, request);
        }
        let wanted = desired.prekeys_wanted;
        let base = position.map_or(Base::Nothing, |_| Base::Here);
        let outcome = self.wait_until_carried_out(server, desired, base).await?;
        if wanted > 0 {
            self.fill(client, server, wanted).await?;
        }
        Ok(outcome)
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

    /// Answers on the side: a person waits, and so does the next poll's news.
    fn answer(&self, client: &P, server: &ServerId, request: Request) {
        let (client, server, secrets) = (client.clone(), server.clone(), Arc::clone(&self.secrets));
        tokio::spawn(async move {
            let reply = answer(&secrets, &server, request.ask);
            if let Err(error) = client.reply(request.id, &reply).await {
                tracing::warn!("a reply was not delivered: {error}");
            }
        });
    }

    async fn fill(&self, client: &P, server: &ServerId, wanted: u32) -> Result<(), Disconnect> {
        let mut prekeys = Vec::new();
        for _ in 0..wanted.min(PREKEYS_AT_ONCE) {
            match self.secrets.prekey(server) {
                Ok(prekey) => prekeys.push(prekey),
                Err(error) => {
                    tracing::error!("no keys can be made: {error}");
                    return Ok(());
                }
            }
            // A key takes long enough for others to want their turn.
            tokio::task::yield_now().await;
        }
        self.metrics.prekeys_made(prekeys.len());
        Ok(client.prekeys(&Prekeys { prekeys }).await?)
    }
}

#[cfg(test)]
mod tests;
