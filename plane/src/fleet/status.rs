//! What the fleet looks like now, and looked like in the last 72 hours.

use wgctl::api::{HistoryPoint, Status};
use wgctl::{ServerId, Timestamp};

use super::{Fleet, Refusal};

/// Which history to read.
#[derive(Debug, Clone, Default)]
pub struct HistoryQuery {
    /// Of this server only.
    pub server_id: Option<ServerId>,
    /// From this moment; default and at most 72 hours ago.
    pub since: Option<Timestamp>,
    /// Before this moment; default now.
    pub until: Option<Timestamp>,
    /// Seconds a point; 60 to 259,200; default 300.
    pub step: Option<u32>,
}

/// History in pages, oldest first. A page holds some hours at most, however long the history.
pub struct HistoryPages {
    fleet: Fleet,
}

impl HistoryPages {
    /// The next points; none at the end. A page is never empty.
    pub async fn next(&mut self) -> Result<Option<Vec<HistoryPoint>>, Refusal> {
        todo!()
    }
}

impl Fleet {
    /// The latest status of every server, by id.
    pub async fn statuses(&self) -> Result<Vec<Status>, Refusal> {
        todo!()
    }
    /// History, after the query is checked.
    pub async fn history(&self, query: HistoryQuery) -> Result<HistoryPages, Refusal> {
        todo!()
    }
}
