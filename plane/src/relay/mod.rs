//! Waiting in memory: agents wait for changes, and people's requests wait for agents.
//!
//! Owns the [`Waiters`] of each server, in memory only, and the mapping from a commit to the waiters that it wakes.
//! The data is in the store; a wake only signals that it is worth reading the store again. It must not contain
//! business rules.

mod questions;
mod waiters;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wgctl::ServerId;

use crate::model::effect::Effect;
pub use questions::{Answer, Outcome};
pub use waiters::{Poll, PrekeyWait, Waiters, WorkPermit};

/// The waiters of all servers. Clones share them.
#[derive(Clone, Default)]
pub struct Relay {
    servers: Arc<Mutex<HashMap<ServerId, Arc<Waiters>>>>,
}

impl Relay {
    /// Returns a server's waiters. Creates them if nothing has waited yet.
    #[must_use]
    pub fn waiters(&self, server: &ServerId) -> Arc<Waiters> {
        let mut servers = lock(&self.servers);
        match servers.get(server) {
            Some(waiters) => Arc::clone(waiters),
            None => {
                let waiters = Arc::new(Waiters::default());
                servers.insert(server.clone(), Arc::clone(&waiters));
                waiters
            }
        }
    }

    /// Follows a commit: wakes the waiters for the data that it changed, or cuts them off. All wakes after a commit
    /// come from here, so that no business rule can forget one.
    pub fn follow(&self, effects: &BTreeSet<Effect>) {
        for effect in effects {
            match effect {
                Effect::DesiredStateAdvanced { server, revision } => {
                    if let Some(waiters) = self.known_waiters(server) {
                        waiters.note_commit(*revision);
                        waiters.wake_agent();
                    }
                }
                Effect::Confirmed { server } => {
                    if let Some(waiters) = self.known_waiters(server) {
                        waiters.wake_people();
                    }
                }
                Effect::PrekeysAdded { server } => {
                    if let Some(waiters) = self.known_waiters(server) {
                        waiters.note_prekeys_added();
                    }
                }
                Effect::AgentCutOff { server } => self.cut(server),
                Effect::EverythingReplaced => self.cut_all(),
            }
        }
    }

    /// Returns a server's waiters, or `None` if nothing has waited yet.
    fn known_waiters(&self, server: &ServerId) -> Option<Arc<Waiters>> {
        lock(&self.servers).get(server).map(Arc::clone)
    }

    /// Cuts off a server's waiters, because the server has been removed or its agent's token is no longer valid.
    /// Pending polls end, questions remain unanswered, and the next request starts with new waiters.
    fn cut(&self, server: &ServerId) {
        let waiters = lock(&self.servers).remove(server);
        if let Some(waiters) = waiters {
            waiters.cut();
        }
    }

    /// Cuts off all waiters, because all records have been replaced, including those that are being waited for.
    fn cut_all(&self) {
        let servers = std::mem::take(&mut *lock(&self.servers));
        servers.values().for_each(|waiters| waiters.cut());
    }

    /// Returns true if a server's agent is connected.
    #[must_use]
    pub fn connected(&self, server: &ServerId) -> bool {
        self.known_waiters(server).is_some_and(|waiters| waiters.connected())
    }

    /// Returns the number of polls that are being held.
    #[must_use]
    pub fn polls(&self) -> usize {
        lock(&self.servers).values().map(|waiters| waiters.polls()).sum()
    }
}

/// Locks a mutex, even after a panic elsewhere: the guarded data is consistent after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wgctl::protocol::v1::{Ask, Reply};

    use super::waiters::TIMED;
    use super::*;

    fn ask() -> Ask {
        let json = r#"{"kind":"configuration","id":"00000000-0000-4000-8000-000000000001","name":"a",
            "public_key":"hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=","addresses":["10.8.0.2/32"],
            "allowed_ips":["0.0.0.0/0"],"endpoint":"vpn.example.com:51820"}"#;
        serde_json::from_str(json).unwrap()
    }

    #[tokio::test]
    async fn a_reply_reaches_the_request_that_asked_exactly_once() {
        let waiters = Arc::new(Waiters::default());
        let answer = waiters.ask(ask());
        assert!(waiters.has_fresh_request());
        let requests = waiters.hand_out();
        assert_eq!(requests.len(), 1);
        assert!(!waiters.has_fresh_request(), "the question has just been handed out");
        let reply = || Reply::Failed {
            reason: "no".to_owned(),
        };
        assert!(waiters.reply(&requests[0].id, reply()));
        assert!(!waiters.reply(&requests[0].id, reply()));
        assert!(matches!(
            answer.wait(Duration::from_secs(5)).await,
            Outcome::Replied(Reply::Failed { .. })
        ));
    }

    #[test]
    fn dropped_waiters_leave_nothing_behind() {
        let relay = Relay::default();
        let server: ServerId = "a".parse().unwrap();
        let waiters = relay.waiters(&server);
        let (poll, wanting, answer) = (waiters.begin_poll(), waiters.want_prekey(), waiters.ask(ask()));
        assert_eq!((relay.polls(), waiters.wanting(), waiters.hand_out().len()), (1, 1, 1));
        drop((poll, wanting, answer));
        assert_eq!((relay.polls(), waiters.wanting(), waiters.hand_out().len()), (0, 0, 0));
        relay.cut(&server);
        assert!(lock(&relay.servers).is_empty());
    }

    #[tokio::test]
    async fn a_wake_before_the_wait_is_not_lost() {
        let waiters = Waiters::default();
        let mut news = waiters.agent_news();
        waiters.wake_agent();
        news.changed().await.unwrap();
    }

    #[test]
    fn each_commit_is_timed_once_and_not_after_its_confirmation() {
        let waiters = Arc::new(Waiters::default());
        waiters.note_commit(2);
        assert_eq!(
            waiters.confirm(2).len(),
            0,
            "a commit is not timed while the agent is away"
        );
        let _poll = waiters.begin_poll();
        for revision in [3, 4, 4, 6] {
            waiters.note_commit(revision);
        }
        assert_eq!(waiters.confirm(2).len(), 0);
        assert_eq!(waiters.confirm(5).len(), 2);
        waiters.note_commit(5);
        assert_eq!(
            waiters.confirm(9).len(),
            1,
            "revision 5 was confirmed before it was noted"
        );
        (10..10_000).for_each(|revision| waiters.note_commit(revision));
        assert_eq!(waiters.confirm(10_000).len(), TIMED);
    }

    #[test]
    fn an_agent_is_connected_while_it_polls_and_for_a_moment_afterwards() {
        let waiters = Arc::new(Waiters::default());
        assert!(!waiters.connected());
        let poll = waiters.begin_poll();
        assert!(waiters.connected());
        drop(poll);
        assert!(waiters.connected());
    }
}
