//! `audit`: the audit log, its export and its verification.
//!
//! Owns the messages of these commands. It must not hold an export in memory: the export is passed on as it
//! arrives.

mod table;
mod verify;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use wgctl::Timestamp;
use wgctl::api::AuditRecord;
use wgctl::client::{self, AuditFormat, AuditQuery, PlaneClient};

use crate::argument_types::Moment;
use crate::connection::Options;
use crate::failure::Failure;
use crate::output_file::Draft;
use crate::terminal::output::Output;
use crate::terminal::progress::Progress;

/// The maximum number of records that one query returns.
const PAGE: u32 = 1000;

/// The number of existing records that `--follow` shows first.
const BEGIN_WITH: u32 = 10;

/// The interval at which `--follow` asks for new records.
const EVERY: Duration = Duration::from_secs(2);

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
    /// Save the whole log as CSV, or as JSON Lines with its checkpoints
    Export {
        /// The file to write [default: stdout]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// CSV for spreadsheets, or one JSON object per line
        #[arg(long, value_enum, default_value_t = Format::Csv)]
        format: Format,
    },
    /// Check that no record has been changed, removed or moved
    Verify(verify::Verify),
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Csv,
    Jsonl,
}

#[derive(Args)]
struct Filter {
    /// Keep running and show new records as they arrive
    #[arg(long, short, conflicts_with_all = ["offset", "until"])]
    follow: bool,
    /// Show at most this many records, newest first [default: 100]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: Option<u32>,
    /// Skip this many of the newest records
    #[arg(long, value_name = "COUNT")]
    offset: Option<u64>,
    /// Show only actions by this actor (an email, agent:SERVER, token:NAME, local:USER)
    #[arg(long)]
    actor: Option<String>,
    /// Show only this action, like wg_client_created
    #[arg(long)]
    action: Option<String>,
    /// Show only actions on this target (like los-angeles/alice-iphone) or on anything below it
    #[arg(long)]
    target: Option<String>,
    /// Show only records since WHEN: 24h, or a time like 2026-05-06T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    since: Option<Moment>,
    /// Show only records before WHEN
    #[arg(long, value_name = "WHEN")]
    until: Option<Moment>,
}

impl Audit {
    pub(crate) async fn run(self, options: &Options, out: &Output) -> Result<(), Failure> {
        match self.command {
            Some(Command::Export { output, format }) => {
                export(&options.connect(out.now())?, out, output.as_deref(), format).await
            }
            Some(Command::Verify(verify)) => verify.run(options, out).await,
            None if self.filter.follow => follow(&options.connect(out.now())?, out, self.filter).await,
            None => list(&options.connect(out.now())?, out, self.filter).await,
        }
    }
}

impl Filter {
    fn query(self, now: Timestamp) -> AuditQuery {
        AuditQuery {
            limit: self.limit,
            offset: self.offset,
            actor: self.actor,
            action: self.action,
            target: self.target,
            since: self.since.map(|when| when.back_from(now)),
            until: self.until.map(|when| when.back_from(now)),
        }
    }
}

async fn list(plane: &PlaneClient, out: &Output, filter: Filter) -> Result<(), Failure> {
    let records = plane.audit(&filter.query(out.now())).await?;
    out.answer(&records, || out.table(table::table(&records)))
}

/// Shows the newest records and then new ones as they arrive, oldest first, until the command is stopped.
async fn follow(plane: &PlaneClient, out: &Output, filter: Filter) -> Result<(), Failure> {
    let query = filter.query(out.now());
    let begin = AuditQuery {
        limit: Some(query.limit.unwrap_or(BEGIN_WITH)),
        ..query.clone()
    };
    let mut news = plane.audit(&begin).await?;
    let mut last = 0;
    loop {
        for record in news.iter().rev() {
            out.text(&table::line(record, out.json())?)?;
            last = record.id;
        }
        tokio::time::sleep(EVERY).await;
        news = newer(plane, &query, last).await?;
    }
}

/// Returns the matching records after number `last`, newest first.
async fn newer(plane: &PlaneClient, query: &AuditQuery, last: u64) -> Result<Vec<AuditRecord>, Failure> {
    let mut news: Vec<AuditRecord> = Vec::new();
    loop {
        let page = AuditQuery {
            limit: Some(PAGE),
            offset: Some(news.len() as u64),
            ..query.clone()
        };
        let page = plane.audit(&page).await?;
        let lowest = news.last().map_or(u64::MAX, |record| record.id);
        let (found, count) = (page.len(), news.len());
        // Records that arrive between two requests shift the second page, which then repeats some records of the first.
        news.extend(page.into_iter().filter(|record| record.id > last && record.id < lowest));
        if found < PAGE as usize || news.len() == count || news.last().is_some_and(|record| record.id == last + 1) {
            return Ok(news);
        }
    }
}

async fn export(plane: &PlaneClient, out: &Output, path: Option<&Path>, format: Format) -> Result<(), Failure> {
    let format = match format {
        Format::Csv if out.json() => {
            return Err(Failure::Usage(
                "the export is CSV: use --format jsonl, or run `wgctl audit --json`".to_owned(),
            ));
        }
        Format::Csv => AuditFormat::Csv,
        Format::Jsonl => AuditFormat::JsonLines,
    };
    let mut response = plane.audit_export(format).await?;
    let mut draft = path
        .filter(|path| *path != Path::new("-"))
        .map(Draft::create)
        .transpose()?;
    let broken = |error| {
        Failure::Call(client::Error::Unreachable {
            target: plane.target().to_string(),
            reason: format!("the export was interrupted: {error}"),
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
            out.done(&format!("Exported the audit log to {}.\n", path.display()))
        }
        _ => Ok(()),
    }
}
