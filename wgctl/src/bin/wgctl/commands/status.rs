//! `status` and `history`: the state of servers, now and in the past.
//!
//! Owns the messages of these commands.

use clap::Args;
use wgctl::api::Status;
use wgctl::client::{HistoryQuery, PlaneClient};
use wgctl::{ServerId, Timestamp};

use crate::argument_types::Moment;
use crate::commands::server::drifted;
use crate::failure::Failure;
use crate::terminal::output::Output;
use crate::terminal::table::{Table, Tone};
use crate::terminal::text::{ago, bytes, or_dash, plain};
use crate::terminal::watch::{View, Watch};

#[derive(Args)]
pub(crate) struct Show {
    /// Show only these servers
    #[arg(value_name = "SERVER")]
    servers: Vec<ServerId>,
    #[command(flatten)]
    watch: Watch,
}

impl Show {
    pub(crate) async fn run(self, plane: &PlaneClient, out: &Output) -> Result<(), Failure> {
        let ask = async || self.ask(plane).await;
        let what = format!("status of {}", plane.target());
        self.watch
            .show(out, &what, ask, |statuses| view(statuses, out.now()))
            .await
    }

    async fn ask(&self, plane: &PlaneClient) -> Result<Vec<Status>, Failure> {
        let mut statuses = plane.statuses().await?;
        if self.servers.is_empty() {
            return Ok(statuses);
        }
        let unknown = |id: &&ServerId| !statuses.iter().any(|status| status.server_id == **id);
        if let Some(id) = self.servers.iter().find(unknown) {
            return Err(Failure::NotFound(format!(
                "there is no server {id}: see `wgctl server list`"
            )));
        }
        statuses.retain(|status| self.servers.contains(&status.server_id));
        Ok(statuses)
    }
}

fn view(statuses: &[Status], now: Timestamp) -> View {
    let mut table = Table::new(&[
        "SERVER",
        "STATE",
        ">PING",
        ">PEERS",
        ">RECEIVED",
        ">SENT",
        "~REPORTED",
        "REVISION",
        ">REPAIRED",
    ]);
    for status in statuses {
        let (tone, state) = match (status.online, &status.failed) {
            (true, Some(_)) => (Tone::Bad, "failing"),
            (true, None) if !status.drift.is_empty() => (Tone::Bad, "drifted"),
            (true, None) => (Tone::Good, "online"),
            (false, _) => (Tone::Bad, "offline"),
        };
        table.row(
            tone,
            [
                status.server_id.to_string(),
                state.to_owned(),
                milliseconds(status.ping_ms),
                status.peers.to_string(),
                bytes(status.transfer_rx),
                bytes(status.transfer_tx),
                ago(status.reported_at, now),
                format!("{} of {}", or_dash(status.applied_revision), status.desired_revision),
                status.drift_repaired.to_string(),
            ],
        );
    }
    View {
        table,
        notes: reasons(statuses),
    }
}

/// Returns the servers' failures and drift, one per line.
fn reasons(statuses: &[Status]) -> String {
    let of = |status: &Status| {
        let drifted = status.drift.iter().map(drifted);
        let reasons = status.failed.iter().cloned().chain(drifted);
        reasons
            .map(|reason| format!("{}: {}\n", status.server_id, plain(&reason)))
            .collect::<String>()
    };
    statuses.iter().map(of).collect()
}

#[derive(Args)]
pub(crate) struct History {
    /// The server
    server: ServerId,
    /// Show points since WHEN: 24h, or a time like 2026-05-06T12:00:00Z [default: 72h]
    #[arg(long, value_name = "WHEN")]
    since: Option<Moment>,
    /// Show points before WHEN
    #[arg(long, value_name = "WHEN")]
    until: Option<Moment>,
    /// Seconds per point, at most a day [default: 300]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(60..=86_400))]
    step: Option<u32>,
}

impl History {
    pub(crate) async fn run(self, plane: &PlaneClient, out: &Output) -> Result<(), Failure> {
        let now = out.now();
        let query = HistoryQuery {
            server_id: Some(self.server),
            since: self.since.map(|when| when.back_from(now)),
            until: self.until.map(|when| when.back_from(now)),
            step: self.step,
        };
        let points = plane.history(&query).await?;
        out.answer(&points, || {
            let mut table = Table::new(&["TIME", ">PING", ">RECEIVED", ">SENT"]);
            for point in &points {
                let cells = [
                    point.recorded_at.to_string(),
                    milliseconds(point.ping_ms),
                    bytes(point.transfer_rx),
                    bytes(point.transfer_tx),
                ];
                table.row(Tone::Plain, cells);
            }
            out.table(table)
        })
    }
}

fn milliseconds(ping: Option<f64>) -> String {
    or_dash(ping.map(|ping| format!("{ping:.1} ms")))
}
