//! Questions to an agent: put with its poll, answered later, each to the one who asked.
//!
//! Owns what is asked and not yet answered. A reply may hold secrets: it is passed on, never kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use wgctl::name::RequestId;
use wgctl::protocol::v1::{Ask, Reply, Request};

use super::{AGAIN, Line, lock};

/// The questions that are not yet answered.
#[derive(Default)]
pub(super) struct OpenQuestions(HashMap<RequestId, Question>);

struct Question {
    ask: Ask,
    handed: Option<Instant>,
    reply: oneshot::Sender<Reply>,
}

impl Question {
    fn is_fresh(&self) -> bool {
        self.handed.is_none_or(|handed| handed.elapsed() >= AGAIN)
    }
}

/// The outcome of a question.
#[derive(Debug)]
pub enum Outcome {
    /// The agent replied.
    Replied(Reply),
    /// It did not in time, or its server was removed.
    Silent,
}

/// The answer to come. Dropping it takes the question back.
pub struct Answer {
    line: Arc<Line>,
    id: RequestId,
    reply: Option<oneshot::Receiver<Reply>>,
}

impl Answer {
    /// Waits for the reply.
    pub async fn wait(mut self, patience: Duration) -> Outcome {
        let Some(reply) = self.reply.take() else {
            return Outcome::Silent;
        };
        match tokio::time::timeout(patience, reply).await {
            Ok(Ok(reply)) => Outcome::Replied(reply),
            Ok(Err(_)) | Err(_) => Outcome::Silent,
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        lock(&self.line.state).asked.0.remove(&self.id);
    }
}

impl Line {
    /// Puts a question to the agent and wakes its poll.
    #[must_use]
    pub fn ask(self: &Arc<Self>, ask: Ask) -> Answer {
        let id = RequestId::random();
        let (reply, receiver) = oneshot::channel();
        let question = Question {
            ask,
            handed: None,
            reply,
        };
        lock(&self.state).asked.0.insert(id, question);
        self.wake_agent();
        Answer {
            line: Arc::clone(self),
            id,
            reply: Some(receiver),
        }
    }

    /// Returns true when a question has not been sent to the agent, or not lately.
    #[must_use]
    pub fn has_fresh_request(&self) -> bool {
        lock(&self.state).asked.0.values().any(Question::is_fresh)
    }

    /// Returns true when a question is not answered.
    #[must_use]
    pub fn has_requests(&self) -> bool {
        !lock(&self.state).asked.0.is_empty()
    }

    /// All questions that are not answered, for a poll's answer.
    #[must_use]
    pub fn hand_out(&self) -> Vec<Request> {
        let now = Instant::now();
        let mut state = lock(&self.state);
        let questions = state.asked.0.iter_mut();
        questions
            .map(|(id, question)| {
                question.handed = Some(now);
                Request {
                    id: *id,
                    ask: question.ask.clone(),
                }
            })
            .collect()
    }

    /// Passes a reply on. False when nobody waits for it (any more).
    pub fn reply(&self, id: &RequestId, reply: Reply) -> bool {
        let question = lock(&self.state).asked.0.remove(id);
        question.is_some_and(|question| question.reply.send(reply).is_ok())
    }
}
