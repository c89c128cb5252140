//! Questions to an agent: sent with the response to its poll and answered later. Each reply goes to the request that
//! asked the question.
//!
//! Owns the unanswered questions. It must not store replies, because they may contain secrets: it only passes them on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use wgctl::name::RequestId;
use wgctl::protocol::v1::{Ask, Reply, Request};

use super::lock;

/// The time after which a question is sent again, because the response that carried it may have been lost.
const RESEND_AFTER: Duration = Duration::from_secs(2);

/// The unanswered questions.
#[derive(Default)]
pub(super) struct OpenQuestions(Mutex<HashMap<RequestId, Question>>);

struct Question {
    ask: Ask,
    handed: Option<Instant>,
    reply: oneshot::Sender<Reply>,
}

impl Question {
    fn is_fresh(&self) -> bool {
        self.handed.is_none_or(|handed| handed.elapsed() >= RESEND_AFTER)
    }
}

/// The outcome of a question.
#[derive(Debug)]
pub enum Outcome {
    /// The agent replied.
    Replied(Reply),
    /// The agent did not reply in time, or was cut off.
    Silent,
}

/// A pending answer. Dropping it withdraws the question.
pub struct Answer {
    questions: Arc<OpenQuestions>,
    id: RequestId,
    reply: Option<oneshot::Receiver<Reply>>,
}

impl Answer {
    /// Waits for the reply, for at most `patience`.
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
        lock(&self.questions.0).remove(&self.id);
    }
}

impl OpenQuestions {
    /// Adds a question.
    pub(super) fn ask(self: &Arc<Self>, ask: Ask) -> Answer {
        let id = RequestId::random();
        let (reply, receiver) = oneshot::channel();
        let question = Question {
            ask,
            handed: None,
            reply,
        };
        lock(&self.0).insert(id, question);
        Answer {
            questions: Arc::clone(self),
            id,
            reply: Some(receiver),
        }
    }

    /// Removes all questions. The requests that are waiting for replies stop waiting at once.
    pub(super) fn clear(&self) {
        lock(&self.0).clear();
    }

    /// Returns true if any question has not been sent to the agent recently.
    pub(super) fn has_fresh(&self) -> bool {
        lock(&self.0).values().any(Question::is_fresh)
    }

    /// Returns true if there are no questions.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }

    /// Returns all questions and notes that they are being sent.
    pub(super) fn hand_out(&self) -> Vec<Request> {
        let now = Instant::now();
        let mut questions = lock(&self.0);
        questions
            .iter_mut()
            .map(|(id, question)| {
                question.handed = Some(now);
                Request {
                    id: *id,
                    ask: question.ask.clone(),
                }
            })
            .collect()
    }

    /// Passes on a reply. Returns false if no request is waiting for it.
    pub(super) fn reply(&self, id: &RequestId, reply: Reply) -> bool {
        let question = lock(&self.0).remove(id);
        question.is_some_and(|question| question.reply.send(reply).is_ok())
    }
}
