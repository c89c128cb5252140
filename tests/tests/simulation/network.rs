//! The network between agents and plane, in which messages are lost, duplicated and delayed, and links are cut.
//!
//! Owns the fate of each message and its delivery, as JSON through the protocol's own types, to the fleet
//! and back. The fate must not depend on the content of messages.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sentrazone_agent::conversation::Plane as Conversation;
use sentrazone_plane::fleet::{Fleet, Refusal};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use wgctl::ServerId;
use wgctl::api::{Problem, Report};
use wgctl::client::{Error, Target};
use wgctl::name::RequestId;
use wgctl::protocol::v1::{Applied, Change, Desired, DesiredQuery, DriftReport, Hello, Prekeys, Reply, Welcome};

use crate::dice::Dice;
use crate::plane::Plane;

/// The HTTP client's timeout.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL_GRACE: Duration = Duration::from_secs(10);
/// The maximum time that a message can be in transit.
pub(crate) const LATEST: Duration = Duration::from_secs(60);

/// The kinds of message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Hello,
    Desired,
    Applied,
    Prekeys,
    Report,
    Health,
}

pub(crate) const KINDS: [Kind; 6] = [
    Kind::Hello,
    Kind::Desired,
    Kind::Applied,
    Kind::Prekeys,
    Kind::Report,
    Kind::Health,
];

/// A fault that affects one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The message never arrives.
    RequestLost,
    /// The message is carried out, but the response never arrives.
    AnswerLost,
    /// The message arrives twice, the second time immediately after the first.
    Repeated,
    /// The message arrives twice, the second time much later.
    RepeatedLate,
    /// The message arrives after its sender has given up.
    Late,
}

pub(crate) const FAULTS: [Fault; 5] = [
    Fault::RequestLost,
    Fault::AnswerLost,
    Fault::Repeated,
    Fault::RepeatedLate,
    Fault::Late,
];

/// The fate of one message.
#[derive(Debug, Default)]
struct Fate {
    lost: bool,
    there: Duration,
    again: Option<Duration>,
    answer_lost: bool,
    back: Duration,
    /// True if, when the message or the response is lost, the sender gets an error immediately instead of a timeout.
    reset: bool,
}

/// The state of one host in the network.
struct Place {
    token: String,
    dice: Vec<Dice>,
    cut: bool,
}

struct State {
    places: Vec<Place>,
    /// The number of messages in a thousand that are affected by each kind of fault. 0 means that there are no faults.
    trouble: u32,
    /// The fault planned for the next message of a kind.
    script: Option<(Kind, Fault)>,
    trace: Vec<String>,
}

/// A callback for each message that leaves a host.
pub(crate) type Eye = Box<dyn Fn(usize, Kind) + Send + Sync>;

/// The network, shared by all links.
pub(crate) struct Network {
    plane: Arc<Plane>,
    state: Mutex<State>,
    news: watch::Sender<()>,
    begun: Instant,
    eye: Mutex<Option<Eye>>,
    /// The time at which the plane last accepted a report, by host.
    reported: Mutex<Vec<Option<Instant>>>,
}

impl Network {
    pub(crate) fn new(plane: Arc<Plane>, trouble: u32) -> Arc<Self> {
        let state = State {
            places: Vec::new(),
            trouble,
            script: None,
            trace: Vec::new(),
        };
        Arc::new(Self {
            plane,
            state: Mutex::new(state),
            news: watch::Sender::new(()),
            begun: Instant::now(),
            eye: Mutex::default(),
            reported: Mutex::default(),
        })
    }

    pub(crate) fn watch(&self, eye: Eye) {
        *self.eye.lock().unwrap() = Some(eye);
    }

    /// Adds a host whose agent has this token.
    pub(crate) fn join(self: &Arc<Self>, seed: u64, token: String) -> Link {
        let mut state = self.state.lock().unwrap();
        let host = state.places.len();
        let stream = |kind: usize| 1000 + u64::try_from(host * 100 + kind).unwrap();
        state.places.push(Place {
            token,
            dice: (0..KINDS.len()).map(|kind| Dice::new(seed, stream(kind))).collect(),
            cut: false,
        });
        self.reported.lock().unwrap().push(None);
        Link {
            network: Arc::clone(self),
            host,
            target: Target::Socket(PathBuf::from("/simulated")),
        }
    }

    /// Ends all faults, except those that affect messages already in transit.
    pub(crate) fn heal(&self) {
        let mut state = self.state.lock().unwrap();
        state.trouble = 0;
        state.places.iter_mut().for_each(|place| place.cut = false);
    }

    pub(crate) fn cut(&self, host: usize, cut: bool) {
        self.state.lock().unwrap().places[host].cut = cut;
    }

    /// Plans a fault for the next message of this kind.
    pub(crate) fn script(&self, kind: Kind, fault: Fault) {
        self.state.lock().unwrap().script = Some((kind, fault));
    }

    /// Returns true if the planned fault has happened.
    pub(crate) fn script_is_over(&self) -> bool {
        self.state.lock().unwrap().script.is_none()
    }

    /// Wakes waiting polls after a change to the record.
    pub(crate) fn tell(&self) {
        self.news.send_replace(());
    }

    pub(crate) fn trace(&self, line: impl std::fmt::Display) {
        let at = self.begun.elapsed().as_millis();
        self.state.lock().unwrap().trace.push(format!("{at:>8} {line}"));
    }

    pub(crate) fn traced(&self) -> Vec<String> {
        self.state.lock().unwrap().trace.clone()
    }

    /// Returns the time since the plane last accepted a report from this host.
    pub(crate) fn reported(&self, host: usize) -> Option<Duration> {
        self.reported.lock().unwrap()[host].map(|at| at.elapsed())
    }

    /// Clears the report times, because the plane may have lost the reports or its clock has changed.
    pub(crate) fn forget_reports(&self) {
        self.reported.lock().unwrap().fill(None);
    }

    fn fate(&self, host: usize, kind: Kind) -> Fate {
        let mut state = self.state.lock().unwrap();
        let trouble = state.trouble;
        let scripted = match state.script {
            Some((of, fault)) if of == kind => state.script.take().map(|_| fault),
            _ => None,
        };
        let dice = &mut state.places[host].dice[kind as usize];
        let mut fate = Fate {
            there: dice.milliseconds(1..50),
            back: dice.milliseconds(1..50),
            reset: dice.permille(500),
            ..Fate::default()
        };
        let late = dice.milliseconds(100..60_000);
        // Every random number is drawn each time, so that one result does not shift the others.
        let thrown = FAULTS.map(|fault| dice.permille(trouble).then_some(fault));
        for fault in thrown.into_iter().flatten().chain(scripted) {
            match fault {
                Fault::RequestLost => fate.lost = true,
                Fault::AnswerLost => fate.answer_lost = true,
                Fault::Repeated => fate.again = Some(fate.there + Duration::from_millis(1)),
                Fault::RepeatedLate => fate.again = Some(late),
                Fault::Late if scripted.is_some() => fate.there = LATEST.saturating_sub(Duration::from_secs(15)),
                Fault::Late => fate.there = late,
            }
        }
        fate
    }

    fn is_cut(&self, host: usize) -> bool {
        self.state.lock().unwrap().places[host].cut
    }

    /// Delivers a message after its delay, and then the response if the sender is still waiting.
    async fn deliver(self: Arc<Self>, message: Message, delay: Duration, back: Option<(Duration, Waiter)>) {
        sleep(delay).await;
        let answer = match self.is_cut(message.host) {
            true => None,
            false => match self.carry_out(&message).await {
                Some(answer) => Some(answer),
                // No plane is listening, so the sender gets an error immediately.
                None => return,
            },
        };
        let Some((delay, waiter)) = back else { return };
        sleep(delay).await;
        match answer.filter(|_| !self.is_cut(message.host)) {
            Some(answer) => drop(waiter.send(answer)),
            // There is no response, so the sender waits until its timeout.
            None => {
                sleep(LATEST).await;
                drop(waiter);
            }
        }
    }

    async fn carry_out(&self, message: &Message) -> Option<Answer> {
        let (end, ends) = (Instant::now() + message.wait, self.plane.ends());
        loop {
            let mut news = self.news.subscribe();
            let (kind, body, token) = (message.kind, message.body.clone(), message.token.clone());
            let answer = self
                .plane
                .ask(move |fleet| async move { receive(&fleet, kind, &token, &body).await })?;
            let held = message.kind == Kind::Desired && answer.as_deref().is_ok_and(is_nothing_new);
            if !held || Instant::now() >= end {
                let shown = answer.as_ref().map_or("refused", |_| "done");
                self.trace(format_args!(
                    "{}: {:?} {shown} {}",
                    message.host,
                    message.kind,
                    brief(message)
                ));
                if message.kind == Kind::Report && answer.is_ok() {
                    self.reported.lock().unwrap()[message.host] = Some(Instant::now());
                }
                return Some(answer);
            }
            let _ = timeout_at(end, news.changed()).await;
            if self.plane.ends() != ends {
                return None;
            }
        }
    }
}

type Answer = Result<String, Box<Problem>>;
type Waiter = oneshot::Sender<Answer>;

#[derive(Clone)]
struct Message {
    host: usize,
    kind: Kind,
    token: String,
    body: String,
    wait: Duration,
}

fn is_nothing_new(answer: &str) -> bool {
    let desired: Desired = serde_json::from_str(answer).unwrap();
    desired.change == Change::Unchanged && desired.requests.is_empty() && desired.prekeys_wanted == 0
}

/// Returns the part of a message that is the same in every run of a seed.
fn brief(message: &Message) -> String {
    match message.kind {
        Kind::Report => {
            let counters = parse::<Report>(&message.body).counters;
            counters.map_or_else(String::new, |batch| {
                let bytes: u64 = batch.peers.values().map(|peer| peer.rx).sum();
                format!("batch {}: {bytes} bytes", batch.sequence)
            })
        }
        Kind::Applied => format!("revision {}", parse::<Applied>(&message.body).revision),
        Kind::Desired => format!("since {}", parse::<DesiredQuery>(&message.body).revision),
        _ => String::new(),
    }
}

/// Does the work of the plane's HTTP layer, without HTTP.
async fn receive(fleet: &Fleet, kind: Kind, token: &str, body: &str) -> Answer {
    let Some((server, caller)) = fleet
        .agent_by_token(token, None, None)
        .map_err(|refusal| Box::new(problem(refusal)))?
    else {
        return Err(Box::new(problem_of(401, "the token is not valid")));
    };
    match kind {
        Kind::Hello => json(fleet.hello(&caller, &server, parse(body)).await),
        Kind::Desired => {
            let query = DesiredQuery { wait: 0, ..parse(body) };
            fleet.note_token_used(&caller, &server).await;
            json(fleet.desired(&caller, &server, query).await)
        }
        Kind::Applied => json(fleet.applied(&caller, &server, parse(body)).await),
        Kind::Prekeys => json(fleet.prekeys(&caller, &server, parse(body)).await),
        Kind::Report => {
            let report: Report = parse(body);
            match report.server_id == server {
                true => json(fleet.report(&caller, &server, report).await),
                false => Err(Box::new(problem_of(403, "another server's report"))),
            }
        }
        Kind::Health => Ok("null".to_owned()),
    }
}

fn parse<T: DeserializeOwned>(body: &str) -> T {
    serde_json::from_str(body).unwrap()
}

fn json<T: Serialize>(answer: Result<T, Refusal>) -> Answer {
    answer
        .map(|answer| serde_json::to_string(&answer).unwrap())
        .map_err(|refusal| Box::new(problem(refusal)))
}

fn problem(refusal: Refusal) -> Problem {
    let status = match refusal {
        Refusal::NotFound { .. } => 404,
        Refusal::InvalidField { .. } => 422,
        Refusal::PublicKeyTaken(_) => 409,
        _ => 503,
    };
    problem_of(status, &refusal.to_string())
}

fn problem_of(status: u16, detail: &str) -> Problem {
    Problem {
        kind: "about:blank".to_owned(),
        title: String::new(),
        status,
        detail: detail.to_owned(),
        code: "simulated".to_owned(),
        field: None,
        hint: None,
    }
}

/// One host's link to the plane.
#[derive(Clone)]
pub(crate) struct Link {
    network: Arc<Network>,
    host: usize,
    target: Target,
}

impl Link {
    async fn call<A: DeserializeOwned>(&self, kind: Kind, body: &impl Serialize, wait: Duration) -> Result<A, Error> {
        if let Some(eye) = &*self.network.eye.lock().unwrap() {
            eye(self.host, kind);
        }
        let fate = self.network.fate(self.host, kind);
        self.network.trace(format_args!("{}: {kind:?} {fate:?}", self.host));
        let message = Message {
            host: self.host,
            kind,
            token: self.network.state.lock().unwrap().places[self.host].token.clone(),
            body: serde_json::to_string(body).unwrap(),
            wait,
        };
        let (waiter, answer) = oneshot::channel();
        // Spawned, because a message in transit still arrives if its sender is killed.
        if let Some(delay) = fate.again {
            tokio::spawn(Arc::clone(&self.network).deliver(message.clone(), delay, None));
        }
        let mut waiter = Some(waiter);
        let back = waiter.take_if(|_| !fate.lost && !fate.answer_lost);
        if !fate.lost {
            let back = back.map(|waiter| (fate.back, waiter));
            tokio::spawn(Arc::clone(&self.network).deliver(message, fate.there, back));
        }
        waiter.take_if(|_| fate.reset);
        let patience = if kind == Kind::Desired {
            wait + POLL_GRACE
        } else {
            PATIENCE
        };
        let unreachable = |reason: &str| Error::Unreachable {
            target: self.target.to_string(),
            reason: reason.to_owned(),
        };
        match timeout(patience, answer).await {
            Ok(Ok(Ok(answer))) => Ok(serde_json::from_str(&answer).unwrap()),
            Ok(Ok(Err(problem))) => Err(Error::Refused(problem)),
            Ok(Err(_)) => Err(unreachable("connection reset")),
            Err(_) => Err(unreachable("operation timed out")),
        }
    }
}

impl Conversation for Link {
    async fn hello(&self, hello: &Hello) -> Result<Welcome, Error> {
        self.call(Kind::Hello, hello, Duration::ZERO).await
    }

    async fn desired(&self, query: &DesiredQuery) -> Result<Desired, Error> {
        let wait = Duration::from_secs(query.wait.into());
        self.call(Kind::Desired, query, wait).await
    }

    async fn applied(&self, applied: &Applied) -> Result<(), Error> {
        self.call(Kind::Applied, applied, Duration::ZERO).await
    }

    async fn drift(&self, _: &DriftReport) -> Result<(), Error> {
        Ok(())
    }

    async fn prekeys(&self, prekeys: &Prekeys) -> Result<(), Error> {
        self.call(Kind::Prekeys, prekeys, Duration::ZERO).await
    }

    async fn reply(&self, _: RequestId, _: &Reply) -> Result<(), Error> {
        Ok(())
    }

    async fn report(&self, report: &Report) -> Result<(), Error> {
        self.call(Kind::Report, report, Duration::ZERO).await
    }

    async fn health(&self) -> Result<(), Error> {
        self.call(Kind::Health, &(), Duration::ZERO).await
    }

    fn reached(&self) -> Option<std::net::IpAddr> {
        None
    }

    fn target(&self) -> &Target {
        &self.target
    }
}

/// Returns the id of the server that belongs to the host with this number.
pub(crate) fn server(host: usize) -> ServerId {
    format!("server-{host}").parse().unwrap()
}
