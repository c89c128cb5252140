//! The current status of servers, and their history for the last 72 hours.
//!
//! Owns how both are read. History is read in pages, each in a read transaction of its own. It must
//! not hold the whole history in memory.

use crate::store::Read;
use wgctl::api::{HistoryPoint, Status};
use wgctl::{ServerId, Timestamp};

use super::api_objects;
use crate::fleet::servers::existing::no_server;
use crate::fleet::{Fleet, Refusal, Scope};
use crate::history::{self, Steps};

/// The default step, in seconds: 864 points in 72 hours.
const STEP: u32 = 300;

/// The longest step, in seconds: one day.
const LONGEST_STEP: u32 = 24 * 3600;

/// The number of points at which a page ends. A page may contain more, because its last hour is read
/// completely.
const PAGE: usize = 2000;

/// A query for history.
#[derive(Debug, Clone, Default)]
pub struct HistoryQuery {
    /// Only the history of this server; `None` for all servers.
    pub server_id: Option<ServerId>,
    /// The start. The default, which is also the earliest, is 72 hours ago.
    pub since: Option<Timestamp>,
    /// The end, exclusive. The default is now.
    pub until: Option<Timestamp>,
    /// The number of seconds per point, from 60 to 86,400. The default is 300.
    pub step: Option<u32>,
    /// Only servers in this scope.
    pub scope: Scope,
}

/// History in pages, oldest first. Memory use does not grow with the history.
pub struct HistoryPages {
    fleet: Fleet,
    server: Option<ServerId>,
    scope: Scope,
    reading: Option<Reader>,
}

/// The progress of a read.
struct Reader {
    hour: u64,
    last: u64,
    steps: Steps,
}

impl HistoryPages {
    /// Returns the next points, or `None` at the end. A page is never empty.
    pub async fn next(&mut self) -> Result<Option<Vec<HistoryPoint>>, Refusal> {
        while let Some(reader) = self.reading.take() {
            let (server, scope) = (self.server.clone(), self.scope.clone());
            let read = move |tx: &dyn Read| page(tx, server.as_ref(), &scope, reader);
            let (points, reader) = self.fleet.store().scan(read).await?;
            self.reading = reader;
            if !points.is_empty() {
                return Ok(Some(points));
            }
        }
        Ok(None)
    }
}

fn page(
    tx: &dyn Read,
    server: Option<&ServerId>,
    scope: &Scope,
    mut reader: Reader,
) -> Result<(Vec<HistoryPoint>, Option<Reader>), Refusal> {
    let mut points = Vec::new();
    while reader.hour <= reader.last {
        let hours = match server {
            Some(id) => tx
                .hour(reader.hour, id)?
                .map(|packed| (id.clone(), packed))
                .into_iter()
                .collect(),
            None => tx.hour_of_all(reader.hour)?,
        };
        for (id, packed) in hours.into_iter().filter(|(id, _)| scope.admits(id)) {
            match history::unpack(&packed) {
                Ok(samples) => reader.steps.add(reader.hour, &id, &samples),
                Err(error) => tracing::error!(server = %id, hour = reader.hour, "an hour of history is lost: {error}"),
            }
        }
        reader.hour += 1;
        points.extend(reader.steps.before(reader.hour));
        if points.len() >= PAGE {
            return Ok((points, Some(reader)));
        }
    }
    points.extend(reader.steps.finish());
    Ok((points, None))
}

impl Fleet {
    /// Returns the latest status of every server, ordered by server id.
    pub async fn statuses(&self) -> Result<Vec<Status>, Refusal> {
        let now = self.now();
        self.store()
            .scan(move |tx: &dyn Read| {
                let states = tx.servers_with_state()?;
                Ok(states.iter().map(|state| api_objects::status(state, now)).collect())
            })
            .await
    }

    /// Checks the query and returns the history.
    pub fn history(&self, query: HistoryQuery) -> Result<HistoryPages, Refusal> {
        let step = query.step.unwrap_or(STEP);
        if !(60..=LONGEST_STEP).contains(&step) {
            let detail = format!("{step} s: give 60 (the shortest step available) to {LONGEST_STEP}");
            return Err(Refusal::field_value("step", detail));
        }
        if let Some(id) = &query.server_id {
            if !query.scope.admits(id) {
                return Err(no_server(id));
            }
            self.server(id)?;
        }
        let now = self.now();
        let oldest = now.before(history::RETENTION);
        let since = query.since.unwrap_or(oldest).max(oldest);
        // The current minute is included.
        let until = query
            .until
            .map_or(Timestamp::from_unix(now.unix() + 1), |until| until.min(now));
        if query.since.zip(query.until).is_some_and(|(since, until)| since > until) {
            return Err(Refusal::field_value("since", "it is after \"until\": swap them"));
        }
        let reader = Reader {
            hour: history::place(since).0,
            last: history::place(until).0,
            steps: Steps::new(since, until, step),
        };
        Ok(HistoryPages {
            fleet: self.clone(),
            server: query.server_id,
            scope: query.scope,
            reading: Some(reader),
        })
    }
}
