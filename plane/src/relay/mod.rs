//! Waiting in memory: agents wait for news, people for agents.
//!
//! Owns one [`Line`] for each server, in memory only. The store holds what is waited for; a line only signals that it
//! is worth reading again. It must not decide anything. Guards remove a waiter's traces when its request is dropped,
//! for whatever reason.

mod questions;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use wgctl::ServerId;

use crate::model::effect::Effect;
pub use questions::{Answer, Outcome};

/// Time after its last poll for which an agent still counts as connected: its next poll is under way.
const GRACE: Duration = Duration::from_secs(5);

/// Time after which news is sent again, because the answer that carried it may have been lost.
const AGAIN: Duration = Duration::from_secs(2);

/// The units of work that one agent may have in progress at the writer, and as many at readers. Further ones wait.
const TURNS: usize = 2;

/// The polls of one agent that are answered at the same time, from the request to the last byte: an answer may be a
/// whole server. An honest agent holds one, and leaves a few behind on a bad connection.
const POLLS: usize = 16;

/// All lines. Cloning shares them.
#[derive(Clone, Default)]
pub struct Relay {
    lines: Arc<Mutex<HashMap<ServerId, Arc<Line>>>>,
}

impl Relay {
    /// A server's line.
    #[must_use]
    pub fn line(&self, server: &ServerId) -> Arc<Line> {
        let mut lines = lock(&self.lines);
        match lines.get(server) {
            Some(line) => Arc::clone(line),
            None => {
                let line = Arc::new(Line::default());
                lines.insert(server.clone(), Arc::clone(&line));
                line
            }
        }
    }

    /// Follows a commit: wakes those who wait for what it changed, or cuts them off. All wakes come from here, so that
    /// no rule can forget one.
    pub fn follow(&self, effects: &BTreeSet<Effect>) {
        for effect in effects {
            match effect {
                Effect::DesiredStateMoved { server, revision } => {
                    if let Some(line) = self.known_line(server) {
                        line.note_commit(*revision);
                        line.wake_agent();
                    }
                }
                Effect::Confirmed { server } => {
                    if let Some(line) = self.known_line(server) {
                        line.wake_people();
                    }
                }
                Effect::PrekeysCame { server } => {
                    if let Some(line) = self.known_line(server) {
                        line.note_prekeys_came();
                    }
                }
                Effect::AgentCutOff { server } => self.cut(server),
                Effect::EverythingReplaced => self.cut_all(),
            }
        }
    }

    /// Returns a server's line if there is one; otherwise nobody waits.
    fn known_line(&self, server: &ServerId) -> Option<Arc<Line>> {
        lock(&self.lines).get(server).map(Arc::clone)
    }

    /// Cuts a server's line: the server was removed, or its agent's token died. Polls that are held
    /// end, questions stay unanswered, and the next request gets a new line.
    fn cut(&self, server: &ServerId) {
        let line = lock(&self.lines).remove(server);
        if let Some(line) = line {
            line.cut();
        }
    }

    /// Cuts all lines: all records were replaced, and with them everything that is waited for.
    fn cut_all(&self) {
        let lines = std::mem::take(&mut *lock(&self.lines));
        lines.values().for_each(|line| line.cut());
    }

    /// Returns true when a server's agent is connected. Makes no line.
    #[must_use]
    pub fn connected(&self, server: &ServerId) -> bool {
        self.known_line(server).is_some_and(|line| line.connected())
    }

    /// The number of agents that hold a poll now.
    #[must_use]
    pub fn polls(&self) -> usize {
        lock(&self.lines).values().map(|line| lock(&line.state).polls).sum()
    }
}

/// The changes of a server that are timed until their confirmation. The oldest of more are not timed.
const TIMED: usize = 1024;

/// The connection of one server's agent with the people who wait for it.
pub struct Line {
    agent: watch::Sender<()>,
    people: watch::Sender<()>,
    turns: Arc<Semaphore>,
    looks: Arc<Semaphore>,
    places: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cut: bool,
    polled: bool,
    polls: usize,
    last_poll: Option<Instant>,
    /// People who wait for a prekey.
    wanting: u32,
    prekeys_asked: Option<Instant>,
    asked: questions::OpenQuestions,
    /// Revisions that were committed and not yet confirmed, and when.
    committed: VecDeque<(u64, Instant)>,
    confirmed: u64,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            agent: watch::Sender::new(()),
            people: watch::Sender::new(()),
            turns: Arc::new(Semaphore::new(TURNS)),
            looks: Arc::new(Semaphore::new(TURNS)),
            places: Arc::new(Semaphore::new(POLLS)),
            state: Mutex::default(),
        }
    }
}

/// A permit for one unit of an agent's work. It belongs to the work, which does not end when the caller hangs up.
#[must_use = "the work is under way while this is held"]
pub struct WorkPermit(#[expect(dead_code, reason = "it counts until it is dropped")] Option<OwnedSemaphorePermit>);

impl Line {
    /// Waits for a permit for one unit of work at the writer: whoever has an agent's token must not monopolize the
    /// writer.
    pub async fn turn(&self) -> WorkPermit {
        // Nobody closes it.
        WorkPermit(Arc::clone(&self.turns).acquire_owned().await.ok())
    }

    /// Waits for a permit for one long read. Reads never wait for the writer.
    pub async fn look(&self) -> WorkPermit {
        WorkPermit(Arc::clone(&self.looks).acquire_owned().await.ok())
    }

    /// Waits for a permit to answer one poll. Hold it until the answer is sent.
    pub async fn place(&self) -> WorkPermit {
        WorkPermit(Arc::clone(&self.places).acquire_owned().await.ok())
    }

    /// Tells the agent's poll to look again.
    fn wake_agent(&self) {
        self.agent.send_replace(());
    }

    /// Tells the people who wait for the agent to look again.
    fn wake_people(&self) {
        self.people.send_replace(());
    }

    fn cut(&self) {
        let mut state = lock(&self.state);
        state.cut = true;
        // Who asked is told at once that nobody will answer.
        state.asked = questions::OpenQuestions::default();
        drop(state);
        self.wake_agent();
        self.wake_people();
    }

    /// Returns true when this line was cut.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        lock(&self.state).cut
    }

    /// Returns a receiver that sees every wake after this call.
    #[must_use]
    pub fn agent_news(&self) -> watch::Receiver<()> {
        self.agent.subscribe()
    }

    /// Returns a receiver that sees every wake after this call.
    #[must_use]
    pub fn people_news(&self) -> watch::Receiver<()> {
        self.people.subscribe()
    }

    /// Returns true when the agent holds a poll, or did a moment ago.
    #[must_use]
    pub fn connected(&self) -> bool {
        let state = lock(&self.state);
        state.polls > 0 || state.last_poll.is_some_and(|last| last.elapsed() < GRACE)
    }

    /// Notes that this revision was committed now. Nothing is noted while the agent is away: the time until it returns
    /// says nothing about speed.
    fn note_commit(&self, revision: u64) {
        if !self.connected() {
            return;
        }
        let mut state = lock(&self.state);
        let known = state.committed.back().map_or(state.confirmed, |(last, _)| *last);
        if revision > known.max(state.confirmed) {
            if state.committed.len() >= TIMED {
                state.committed.pop_front();
            }
            state.committed.push_back((revision, Instant::now()));
        }
    }

    /// Notes that this revision was confirmed now. Returns how long each commit up to it has waited.
    pub fn confirm(&self, revision: u64) -> Vec<Duration> {
        let mut state = lock(&self.state);
        state.confirmed = state.confirmed.max(revision);
        let is_later = |(committed, _): &(u64, Instant)| *committed > revision;
        let count = state.committed.iter().position(is_later);
        let count = count.unwrap_or(state.committed.len());
        state
            .committed
            .drain(..count)
            .map(|(_, since)| since.elapsed())
            .collect()
    }

    /// Begins a poll; it ends when the guard is dropped.
    #[must_use]
    pub fn begin_poll(self: &Arc<Self>) -> Poll {
        lock(&self.state).polls += 1;
        Poll(Arc::clone(self))
    }

    /// Returns true on the first call: the agent's first poll since the start.
    #[must_use]
    pub fn is_first_poll(&self) -> bool {
        !std::mem::replace(&mut lock(&self.state).polled, true)
    }

    /// Registers someone who waits for a prekey, until the guard is dropped.
    #[must_use]
    pub fn want_prekey(self: &Arc<Self>) -> PrekeyWait {
        let mut state = lock(&self.state);
        state.wanting = state.wanting.saturating_add(1);
        state.prekeys_asked = None;
        drop(state);
        self.wake_agent();
        PrekeyWait(Arc::clone(self))
    }

    /// The number of people who wait for a prekey.
    #[must_use]
    pub fn wanting(&self) -> u32 {
        lock(&self.state).wanting
    }

    /// Returns true when the agent has not been asked for prekeys lately.
    #[must_use]
    pub fn may_ask_prekeys(&self) -> bool {
        lock(&self.state)
            .prekeys_asked
            .is_none_or(|asked| asked.elapsed() >= AGAIN)
    }

    /// Notes that the agent is being asked for prekeys.
    pub fn note_prekeys_asked(&self) {
        lock(&self.state).prekeys_asked = Some(Instant::now());
    }

    /// Notes that prekeys arrived: the next request for them may be sent at once.
    fn note_prekeys_came(&self) {
        lock(&self.state).prekeys_asked = None;
        self.wake_people();
    }

    /// The time until something may have to be sent again.
    #[must_use]
    pub fn again(&self) -> Duration {
        AGAIN
    }
}

/// A poll that an agent holds.
pub struct Poll(Arc<Line>);

impl Drop for Poll {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.polls = state.polls.saturating_sub(1);
        state.last_poll = Some(Instant::now());
    }
}

/// Somebody who waits for a prekey.
pub struct PrekeyWait(Arc<Line>);

impl Drop for PrekeyWait {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.wanting = state.wanting.saturating_sub(1);
    }
}

/// Locks, also after a panic elsewhere: the guarded data is consistent after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use wgctl::protocol::v1::{Ask, Reply};

    use super::*;

    fn ask() -> Ask {
        let json = r#"{"kind":"configuration","id":"00000000-0000-4000-8000-000000000001","name":"a",
            "public_key":"hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=","addresses":["10.8.0.2/32"],
            "allowed_ips":["0.0.0.0/0"],"endpoint":"vpn.example.com:51820"}"#;
        serde_json::from_str(json).unwrap()
    }

    #[tokio::test]
    async fn a_reply_reaches_who_asked_and_nobody_twice() {
        let line = Arc::new(Line::default());
        let answer = line.ask(ask());
        assert!(line.has_fresh_request());
        let requests = line.hand_out();
        assert_eq!(requests.len(), 1);
        assert!(!line.has_fresh_request(), "it was handed out just now");
        let reply = || Reply::Failed {
            reason: "no".to_owned(),
        };
        assert!(line.reply(&requests[0].id, reply()));
        assert!(!line.reply(&requests[0].id, reply()));
        assert!(matches!(
            answer.wait(Duration::from_secs(5)).await,
            Outcome::Replied(Reply::Failed { .. })
        ));
    }

    #[test]
    fn dropped_waiters_leave_nothing_behind() {
        let relay = Relay::default();
        let server: ServerId = "a".parse().unwrap();
        let line = relay.line(&server);
        let (poll, wanting, answer) = (line.begin_poll(), line.want_prekey(), line.ask(ask()));
        assert_eq!((relay.polls(), line.wanting(), line.hand_out().len()), (1, 1, 1));
        drop((poll, wanting, answer));
        assert_eq!((relay.polls(), line.wanting(), line.hand_out().len()), (0, 0, 0));
        relay.cut(&server);
        assert!(lock(&relay.lines).is_empty());
    }

    #[tokio::test]
    async fn a_wake_before_the_wait_is_not_lost() {
        let line = Line::default();
        let mut news = line.agent_news();
        line.wake_agent();
        news.changed().await.unwrap();
    }

    #[test]
    fn each_commit_is_timed_once_and_none_after_its_confirmation() {
        let line = Arc::new(Line::default());
        line.note_commit(2);
        assert_eq!(line.confirm(2).len(), 0, "the agent was away");
        let _poll = line.begin_poll();
        for revision in [3, 4, 4, 6] {
            line.note_commit(revision);
        }
        assert_eq!(line.confirm(2).len(), 0);
        assert_eq!(line.confirm(5).len(), 2);
        line.note_commit(5);
        assert_eq!(line.confirm(9).len(), 1, "5 was confirmed before it was noted");
        (10..10_000).for_each(|revision| line.note_commit(revision));
        assert_eq!(line.confirm(10_000).len(), TIMED);
    }

    #[test]
    fn an_agent_is_connected_while_it_polls_and_a_moment_longer() {
        let line = Arc::new(Line::default());
        assert!(!line.connected());
        let poll = line.begin_poll();
        assert!(line.connected());
        drop(poll);
        assert!(line.connected());
    }
}
