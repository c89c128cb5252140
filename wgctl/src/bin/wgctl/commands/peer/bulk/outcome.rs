//! The outcome for each name of a list, as JSON and as a table.
//!
//! Owns the wording. It must not contact the plane.

use std::path::PathBuf;

use serde_json::{Value, json};
use wgctl::PeerName;
use wgctl::api::Peer;

use crate::failure::Failure;
use crate::terminal::output::Output;
use crate::terminal::table::{Table, Tone};
use crate::terminal::text::{join, plain};

/// The outcome for a name.
pub(super) enum Outcome {
    Made(Box<Peer>),
    Exists(Box<Peer>),
    Failed(Failure),
}

pub(super) struct NameResult {
    pub(super) name: PeerName,
    pub(super) outcome: Outcome,
    pub(super) file: Option<PathBuf>,
}

impl NameResult {
    pub(super) fn json(&self) -> Value {
        let (outcome, peer, error) = match &self.outcome {
            Outcome::Made(peer) => ("made", Some(peer), None),
            Outcome::Exists(peer) => ("exists", Some(peer), None),
            Outcome::Failed(failure) => ("failed", None, Some(failure.to_json())),
        };
        json!({"name": self.name, "outcome": outcome, "client": peer, "file": self.file, "error": error})
    }
}

pub(super) fn table(done: &[NameResult], out: &Output) -> String {
    let mut table = Table::new(&["…NAME", "OUTCOME", "…ADDRESS", "ID"]);
    let (mut made, mut exist, mut failed) = (0, 0, 0);
    let mut reasons = String::new();
    for one in done {
        let (tone, outcome, peer) = match &one.outcome {
            Outcome::Made(peer) => (Tone::Plain, (&mut made, "added"), Some(peer)),
            Outcome::Exists(peer) => (Tone::Quiet, (&mut exist, "exists"), Some(peer)),
            Outcome::Failed(failure) => {
                reasons.push_str(&format!("{}: {}\n", one.name, plain(&failure.to_string())));
                (Tone::Bad, (&mut failed, "failed"), None)
            }
        };
        let (count, outcome) = outcome;
        *count += 1;
        let address = peer.map_or_else(|| "-".to_owned(), |peer| join(&peer.addresses));
        let id = peer.map_or_else(|| "-".to_owned(), |peer| peer.id.to_string());
        table.row(tone, [one.name.as_str(), outcome, &address, &id]);
    }
    format!(
        "{}{reasons}{made} added, {exist} already existed, {failed} failed.\n",
        out.table(table)
    )
}
