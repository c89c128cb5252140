//! An in-memory plane for tests of the conversation.
//!
//! Owns one server's record, the received messages with their times, and the plane's behaviour. It must not
//! respond to a poll differently from a real plane: immediately if there is news, otherwise when the wait is over.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use wgctl::api::{Problem, Report};
use wgctl::client::{Error, Target};
use wgctl::name::{Incarnation, RequestId};
use wgctl::protocol::v1::{
    Applied, Change, Desired, DesiredQuery, DriftReport, Hello, Peer, Prekey, Prekeys, Reply, Request, Welcome,
};
use wgctl::{PublicKey, ServerId};

use super::plane_calls::Plane;
use crate::desired::tests::{answer, server, snapshot};

/// The way in which the plane responds to callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// The plane responds.
    Answers,
    /// The plane refuses every request with this status.
    Refuses(u16),
    /// The connection is refused.
    Gone,
    /// The plane accepts connections but never responds, so that the client times out.
    Silent,
}

/// The plane's record and the messages it has received.
pub(crate) struct FakeState {
    pub(crate) manner: Behaviour,
    /// The server to which the agent's token belongs.
    pub(crate) server: ServerId,
    pub(crate) life: Incarnation,
    pub(crate) revision: u64,
    pub(crate) peers: Vec<Peer>,
    /// Wrong responses, each returned once, in order, in place of the correct one.
    pub(crate) lies: VecDeque<Desired>,
    pub(crate) prekeys_wanted: u32,
    pub(crate) requests: Vec<Request>,
    /// The times of the introductions.
    pub(crate) hellos: Vec<Instant>,
    /// The public key of the host that introduced itself last.
    pub(crate) public_key: Option<PublicKey>,
    /// The status with which introductions are refused; all other requests are accepted.
    pub(crate) refuses_hello: Option<u16>,
    /// The polls and their times.
    pub(crate) polls: Vec<(Instant, DesiredQuery)>,
    pub(crate) applied: Vec<Applied>,
    pub(crate) reports: Vec<Report>,
    /// The number of upcoming reports that never complete.
    pub(crate) stuck: usize,
    pub(crate) prekeys: Vec<Prekey>,
    pub(crate) replies: Vec<(RequestId, Reply)>,
}

/// A fake plane. Clones share one record.
#[derive(Clone)]
pub(crate) struct FakePlane {
    target: Target,
    record: Arc<Mutex<FakeState>>,
    news: watch::Sender<()>,
}

impl FakePlane {
    pub(crate) fn new(peers: &[Peer]) -> Self {
        let record = FakeState {
            manner: Behaviour::Answers,
            server: server(),
            life: Incarnation::random(),
            revision: 1,
            peers: peers.to_vec(),
            lies: VecDeque::new(),
            prekeys_wanted: 0,
            requests: Vec::new(),
            hellos: Vec::new(),
            public_key: None,
            refuses_hello: None,
            polls: Vec::new(),
            applied: Vec::new(),
            reports: Vec::new(),
            stuck: 0,
            prekeys: Vec::new(),
            replies: Vec::new(),
        };
        Self {
            target: Target::Socket(PathBuf::from("/fake")),
            record: Arc::new(Mutex::new(record)),
            news: watch::Sender::new(()),
        }
    }

    /// Returns the record, locked.
    pub(crate) fn record(&self) -> MutexGuard<'_, FakeState> {
        self.record.lock().unwrap()
    }

    pub(crate) fn behave(&self, manner: Behaviour) {
        self.record().manner = manner;
        self.news.send_replace(());
    }

    /// Replaces the peers and increments the revision.
    pub(crate) fn change(&self, peers: &[Peer]) {
        let mut record = self.record();
        record.peers = peers.to_vec();
        record.revision += 1;
        drop(record);
        self.news.send_replace(());
    }

    async fn attend(&self) -> Result<(), Error> {
        let manner = self.record().manner;
        let unreachable = |reason: &str| Error::Unreachable {
            target: self.target.to_string(),
            reason: reason.to_owned(),
        };
        match manner {
            Behaviour::Answers => Ok(()),
            Behaviour::Refuses(status) => Err(refused(status)),
            Behaviour::Gone => Err(unreachable("connection refused")),
            Behaviour::Silent => {
                tokio::time::sleep(Duration::from_secs(30)).await;
                Err(unreachable("operation timed out"))
            }
        }
    }

    fn now(&self, query: &DesiredQuery) -> Option<Desired> {
        let mut record = self.record();
        if let Some(lie) = record.lies.pop_front() {
            return Some(lie);
        }
        let known = query.incarnation == Some(record.life) && query.revision == record.revision;
        let change = if known {
            Change::Unchanged
        } else {
            snapshot(&record.peers)
        };
        let worth_saying = !known || record.prekeys_wanted > 0 || !record.requests.is_empty();
        worth_saying.then(|| Desired {
            caused_by: Vec::new(),
            requests: std::mem::take(&mut record.requests),
            prekeys_wanted: std::mem::take(&mut record.prekeys_wanted),
            public_key: record.public_key,
            ..answer(record.life, record.revision, change)
        })
    }
}

fn refused(status: u16) -> Error {
    let problem = r#"{"type":"about:blank","title":"","status":0,"detail":"","code":"refused"}"#;
    Error::Refused(Box::new(Problem {
        status,
        ..serde_json::from_str(problem).unwrap()
    }))
}

impl Plane for FakePlane {
    async fn hello(&self, hello: &Hello) -> Result<Welcome, Error> {
        self.record().hellos.push(Instant::now());
        self.attend().await?;
        let mut record = self.record();
        if let Some(status) = record.refuses_hello {
            return Err(refused(status));
        }
        record.public_key = Some(hello.public_key);
        Ok(Welcome {
            version: 1,
            server_id: record.server.clone(),
            incarnation: record.life,
        })
    }

    async fn desired(&self, query: &DesiredQuery) -> Result<Desired, Error> {
        let mut news = self.news.subscribe();
        self.record().polls.push((Instant::now(), query.clone()));
        let end = Instant::now() + Duration::from_secs(query.wait.into());
        loop {
            self.attend().await?;
            if let Some(desired) = self.now(query) {
                return Ok(desired);
            }
            if tokio::time::timeout_at(end, news.changed()).await.is_err() {
                let record = self.record();
                return Ok(Desired {
                    public_key: record.public_key,
                    ..answer(record.life, record.revision, Change::Unchanged)
                });
            }
        }
    }

    async fn applied(&self, applied: &Applied) -> Result<(), Error> {
        self.attend().await?;
        self.record().applied.push(applied.clone());
        Ok(())
    }

    async fn drift(&self, _: &DriftReport) -> Result<(), Error> {
        self.attend().await
    }

    async fn prekeys(&self, prekeys: &Prekeys) -> Result<(), Error> {
        self.attend().await?;
        self.record().prekeys.extend(prekeys.prekeys.clone());
        Ok(())
    }

    async fn reply(&self, request: RequestId, reply: &Reply) -> Result<(), Error> {
        self.attend().await?;
        self.record().replies.push((request, reply.clone()));
        Ok(())
    }

    async fn report(&self, report: &Report) -> Result<(), Error> {
        let gets_stuck = {
            let mut record = self.record();
            let stuck = record.stuck > 0;
            record.stuck = record.stuck.saturating_sub(1);
            stuck
        };
        if gets_stuck {
            std::future::pending::<()>().await;
        }
        self.attend().await?;
        self.record().reports.push(report.clone());
        Ok(())
    }

    async fn health(&self) -> Result<(), Error> {
        self.attend().await
    }

    fn reached(&self) -> Option<std::net::IpAddr> {
        None
    }

    fn target(&self) -> &Target {
        &self.target
    }
}
