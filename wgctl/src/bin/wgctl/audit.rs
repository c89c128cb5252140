//! `audit`: who did what.
//!
//! Owns the words of these commands. The export is passed on as it comes, however long it is.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use wgctl::Timestamp;
use wgctl::client::{self, AuditQuery, Client};

use crate::failure::Failure;
use crate::file::Draft;
use crate::output::{Output, Table, Tone};
use crate::progress::Progress;
use crate::values::Moment;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Audit {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    filter: Filter,
}

#[derive(Subcommand)]
enum Command {
    /// Save the whole log as CSV
    Export {
        /// The file to write [default: stdout]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

#[derive(Args)]
struct Filter {
    /// At most so many records, newest first [default: 100]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: Option<u32>,
    /// Leave out so many of the newest
    #[arg(long, value_name = "COUNT")]
    offset: Option<u64>,
    /// Only what this actor did (an email, agent:SERVER, token:NAME, local:USER)
    #[arg(long)]
    actor: Option<String>,
    /// Only this action, like wg_client_created
    #[arg(long)]
    action: Option<String>,
    /// Only what was done on this target, like los-angeles/alice-iphone
    #[arg(long)]
    target: Option<String>,
    /// From when on: 24h, or a time like 2026-05-06T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    since: Option<Moment>,
    /// Until when
    #[arg(long, value_name = "WHEN")]
    until: Option<Moment>,
}

impl Audit {
    pub(crate) async fn run(self, plane: &Client, out: &Output) -> Result<(), Failure> {
        match self.command {
            Some(Command::Export { output }) => export(plane, out, output.as_deref()).await,
            None => list(plane, out, self.filter).await,
        }
    }
}

async fn list(plane: &Client, out: &Output, filter: Filter) -> Result<(), Failure> {
    let now = Timestamp::now();
    let query = AuditQuery {
        limit: filter.limit,
        offset: filter.offset,
        actor: filter.actor,
        action: filter.action,
        target: filter.target,
        since: filter.since.map(|when| when.back_from(now)),
        until: filter.until.map(|when| when.back_from(now)),
    };
    let records = plane.audit(&query).await?;
    out.answer(&records, || {
        let mut table = Table::new(&[">ID", "TIME", "ACTOR", "ACTION", "TARGET", "IP", "DETAIL"]);
        for record in &records {
            let tone = if record.action == "login_failed" {
                Tone::Bad
            } else {
                Tone::Plain
            };
            let (id, at) = (record.id.to_string(), record.created_at.to_string());
            table.row(
                tone,
                [
                    id.as_str(),
                    &at,
                    &record.actor,
                    &record.action,
                    &record.target,
                    &record.ip,
                    record.detail.as_deref().unwrap_or_default(),
                ],
            );
        }
        out.table(table)
    })
}

async fn export(plane: &Client, out: &Output, path: Option<&Path>) -> Result<(), Failure> {
    if out.json() {
        return Err(Failure::Usage(
            "the export is CSV: leave --json out, or use `wgctl audit --json`".to_owned(),
        ));
    }
    let mut response = plane.audit_export().await?;
    let mut draft = path
        .filter(|path| *path != Path::new("-"))
        .map(Draft::create)
        .transpose()?;
    let broken = |error| {
        Failure::Call(client::Error::Unreachable {
            target: plane.target().to_string(),
            reason: format!("the export broke off: {error}"),
        })
    };
    let progress = Progress::of_bytes(out, response.content_length());
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        progress.more(chunk.len());
        match &mut draft {
            Some(draft) => draft.write(&chunk)?,
            None => out.bytes(&chunk)?,
        }
    }
    drop(progress);
    match (draft, path) {
        (Some(draft), Some(path)) => {
            draft.finish()?;
            out.done(&format!("The audit log is in {}.\n", path.display()))
        }
        _ => Ok(()),
    }
}
