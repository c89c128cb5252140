//! The waiters of one server: its agent's long polls, and the requests that wait for the agent.
//!
//! Owns the wake signals and the limits on an agent's work in progress, in memory only. It must not know which commit
//! wakes which waiter: that belongs to `Relay::follow`. Guards remove all traces of a waiter when its request is
//! dropped, for whatever reason.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use wgctl::name::RequestId;
use wgctl::protocol::v1::{Ask, Reply, Request};

use super::lock;
use super::questions::{Answer, OpenQuestions};

/// The time for which an agent still counts as connected after its last poll has ended: its next poll is on its way.
const GRACE: Duration = Duration::from_secs(5);

/// The time after which something is sent again, because the response that carried it may have been lost.
const AGAIN: Duration = Duration::from_secs(2);

/// The number of units of work that one agent may have in progress with the writer. Its long reads have a separate
/// limit of the same size. Further units wait.
const TURNS: usize = 2;

/// The number of polls that one agent may have in progress at the same time, each from the request to the last byte of
/// the response, which may contain a server's whole state. An honest agent holds one poll, but may leave a few behind
/// on a bad connection.
const POLLS: usize = 16;

/// The maximum number of a server's changes that are timed until their confirmation. If there are more, the oldest are
/// not timed.
pub(super) const TIMED: usize = 1024;

/// The waiters of one server: its agent's polls, and the requests that wait for its agent.
pub struct Waiters {
    agent: watch::Sender<()>,
    people: watch::Sender<()>,
    turns: Arc<Semaphore>,
    looks: Arc<Semaphore>,
    places: Arc<Semaphore>,
    questions: Arc<OpenQuestions>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cut: bool,
    polled: bool,
    polls: usize,
    last_poll: Option<Instant>,
    /// The number of requests that are waiting for a prekey.
    wanting: u32,
    prekeys_asked: Option<Instant>,
    /// The revisions that have been committed but not confirmed, and the time of each commit.
    committed: VecDeque<(u64, Instant)>,
    confirmed: u64,
}

impl Default for Waiters {
    fn default() -> Self {
        Self {
            agent: watch::Sender::new(()),
            people: watch::Sender::new(()),
            turns: Arc::new(Semaphore::new(TURNS)),
            looks: Arc::new(Semaphore::new(TURNS)),
            places: Arc::new(Semaphore::new(POLLS)),
            questions: Arc::default(),
            state: Mutex::default(),
        }
    }
}

/// A permit for one unit of an agent's work. It belongs to the work, which continues even if the caller
/// disconnects.
#[must_use = "the work is under way while this is held"]
pub struct WorkPermit(#[expect(dead_code, reason = "it counts until it is dropped")] Option<OwnedSemaphorePermit>);

impl Waiters {
    /// Waits for a permit for one unit of work with the writer: the holder of an agent token must not monopolize it.
    pub async fn write_permit(&self) -> WorkPermit {
        // The semaphore is never closed.
        WorkPermit(Arc::clone(&self.turns).acquire_owned().await.ok())
    }

    /// Waits for a permit for one long read. Reads never wait for the writer.
    pub async fn read_permit(&self) -> WorkPermit {
        WorkPermit(Arc::clone(&self.looks).acquire_owned().await.ok())
    }

    /// Waits for a permit to answer one poll. Hold it until the response has been sent.
    pub async fn poll_permit(&self) -> WorkPermit {
        WorkPermit(Arc::clone(&self.places).acquire_owned().await.ok())
    }

    /// Wakes the agent's poll.
    pub(super) fn wake_agent(&self) {
        self.agent.send_replace(());
    }

    /// Wakes the requests that wait for the agent.
    pub(super) fn wake_people(&self) {
        self.people.send_replace(());
    }

    pub(super) fn cut(&self) {
        lock(&self.state).cut = true;
        self.questions.clear();
        self.wake_agent();
        self.wake_people();
    }

    /// Returns true if these waiters have been cut off.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        lock(&self.state).cut
    }

    /// Returns a receiver that is notified of every wake of the agent's poll from now on.
    #[must_use]
    pub fn agent_news(&self) -> watch::Receiver<()> {
        self.agent.subscribe()
    }

    /// Returns a receiver that is notified of every wake of the waiting requests from now on.
    #[must_use]
    pub fn people_news(&self) -> watch::Receiver<()> {
        self.people.subscribe()
    }

    /// Returns true if the agent holds a poll, or did so a moment ago.
    #[must_use]
    pub fn connected(&self) -> bool {
        let state = lock(&self.state);
        state.polls > 0 || state.last_poll.is_some_and(|last| last.elapsed() < GRACE)
    }

    /// Notes that this revision has just been committed. Nothing is noted while the agent is away, because the time
    /// until it returns says nothing about its speed.
    pub(super) fn note_commit(&self, revision: u64) {
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

    /// Notes that this revision has just been confirmed. Returns the time that each commit up to this revision has
    /// waited.
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

    /// Returns the number of polls that the agent holds.
    pub(super) fn polls(&self) -> usize {
        lock(&self.state).polls
    }

    /// Begins a poll, which ends when the guard is dropped.
    #[must_use]
    pub fn begin_poll(self: &Arc<Self>) -> Poll {
        lock(&self.state).polls += 1;
        Poll(Arc::clone(self))
    }

    /// Returns true on the first call only, for the agent's first poll with these waiters.
    #[must_use]
    pub fn is_first_poll(&self) -> bool {
        !std::mem::replace(&mut lock(&self.state).polled, true)
    }

    /// Registers a request that waits for a prekey, until the guard is dropped.
    #[must_use]
    pub fn want_prekey(self: &Arc<Self>) -> PrekeyWait {
        let mut state = lock(&self.state);
        state.wanting = state.wanting.saturating_add(1);
        state.prekeys_asked = None;
        drop(state);
        self.wake_agent();
        PrekeyWait(Arc::clone(self))
    }

    /// Returns the number of requests that are waiting for a prekey.
    #[must_use]
    pub fn wanting(&self) -> u32 {
        lock(&self.state).wanting
    }

    /// Returns true if the agent has not been asked for prekeys recently.
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

    /// Notes that prekeys have arrived, so that more may be requested at once. Wakes the requests that wait for them.
    pub(super) fn note_prekeys_added(&self) {
        lock(&self.state).prekeys_asked = None;
        self.wake_people();
    }

    /// Asks the agent a question and wakes its poll.
    #[must_use]
    pub fn ask(&self, ask: Ask) -> Answer {
        let answer = self.questions.ask(ask);
        self.wake_agent();
        answer
    }

    /// Returns true if any unanswered question has not been sent to the agent recently.
    #[must_use]
    pub fn has_fresh_request(&self) -> bool {
        self.questions.has_fresh()
    }

    /// Returns true if there is an unanswered question.
    #[must_use]
    pub fn has_requests(&self) -> bool {
        !self.questions.is_empty()
    }

    /// Returns all unanswered questions, for the response to a poll, and notes that they are being sent.
    #[must_use]
    pub fn hand_out(&self) -> Vec<Request> {
        self.questions.hand_out()
    }

    /// Passes on a reply. Returns false if no request is waiting for it.
    pub fn reply(&self, id: &RequestId, reply: Reply) -> bool {
        self.questions.reply(id, reply)
    }

    /// Returns the time after which something may have to be sent again.
    #[must_use]
    pub fn resend_after(&self) -> Duration {
        AGAIN
    }
}

/// A poll that an agent holds.
pub struct Poll(Arc<Waiters>);

impl Drop for Poll {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.polls = state.polls.saturating_sub(1);
        state.last_poll = Some(Instant::now());
    }
}

/// A request that waits for a prekey.
pub struct PrekeyWait(Arc<Waiters>);

impl Drop for PrekeyWait {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.wanting = state.wanting.saturating_sub(1);
    }
}
