//! `server`: the VPN hosts.
//!
//! Owns the messages of these commands. It must not store an agent token, which is printed only once.

mod arguments;

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use wgctl::api::{NewServer, Server, ServerCreated, TokenRotation};
use wgctl::client::{PlaneClient, Target};
use wgctl::drift::Drift;
use wgctl::{Pin, ServerId};
use zeroize::Zeroizing;

use self::arguments::{Add, Changes};
use crate::argument_types::length;
use crate::failure::Failure;
use crate::terminal::output::Output;
use crate::terminal::prompt;
use crate::terminal::table::{Table, Tone};
use crate::terminal::text::{join, or_dash, plain};
use crate::terminal::watch::{View, Watch};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Register a VPN host and print its agent token, once
    Add(Add),
    /// Show all servers
    List(Watch),
    /// Show one server
    Show(Which),
    /// Change a server
    Set(Set),
    /// Replace the agent token and print the new one, once
    Token(NewToken),
    /// Remove a server and all its peers
    Remove(Remove),
}

#[derive(Args)]
pub(crate) struct Which {
    /// The server's id
    id: ServerId,
}

#[derive(Args)]
pub(crate) struct NewToken {
    /// The server's id
    id: ServerId,
    /// Keep the old token valid until the agent uses the new one, but at most for this time (1h, 7d). Without
    /// this option, the old token stops working at once
    #[arg(long, value_name = "LENGTH", value_parser = length)]
    grace: Option<Duration>,
}

#[derive(Args)]
pub(crate) struct Set {
    /// The server's id
    id: ServerId,
    #[command(flatten)]
    changes: Changes,
}

#[derive(Args)]
pub(crate) struct Remove {
    /// The server's id
    id: ServerId,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
}

impl Command {
    pub(crate) async fn run(self, plane: &PlaneClient, out: &Output) -> Result<(), Failure> {
        match self {
            Self::Add(add) => create(plane, out, &NewServer::from(add)).await,
            Self::List(watch) => list(plane, out, watch).await,
            Self::Show(which) => {
                let server = plane.server(&which.id).await?;
                out.answer(&server, || describe(&server, out))
            }
            Self::Set(set) => {
                let server = plane.update_server(&set.id, &set.changes.into()).await?;
                out.changed(&server, || describe(&server, out))
            }
            Self::Token(new) => new.run(plane, out).await,
            Self::Remove(remove) => {
                prompt::confirm(&format!("Remove {} and all its peers?", remove.id), remove.yes)?;
                plane.remove_server(&remove.id).await?;
                out.done(&format!("{} and all its peers have been removed.\n", remove.id))
            }
        }
    }
}

impl NewToken {
    async fn run(self, plane: &PlaneClient, out: &Output) -> Result<(), Failure> {
        let grace = self.grace.unwrap_or_default().as_secs();
        let rotation = TokenRotation {
            grace_seconds: u32::try_from(grace).unwrap_or(u32::MAX),
        };
        let rotated = plane.rotate_agent_token(&self.id, rotation).await?;
        let token = Zeroizing::new(rotated.agent_token);
        let until = rotated.previous_valid_until;
        let enrol = enrolment(plane.target(), rotated.pin, &token);
        let answer = json!({ "agent_token": token.as_str(), "previous_valid_until": until });
        let answer = with_pin(answer, rotated.pin);
        out.answer(&answer, || {
            let old = match until {
                None => "the old one is no longer valid".to_owned(),
                Some(until) => {
                    format!(
                        "the old one stops working as soon as the agent uses the new one, but no later than {until}"
                    )
                }
            };
            format!("{} has a new agent token; {old}.\n\n{}", self.id, enrol.as_str())
        })
    }
}

async fn create(plane: &PlaneClient, out: &Output, new: &NewServer) -> Result<(), Failure> {
    let ServerCreated {
        server,
        agent_token,
        pin,
    } = plane.create_server(new, None).await?;
    let token = Zeroizing::new(agent_token);
    for net in new.address_pool.iter().filter(|net| net.trunc() != **net) {
        out.note(&format!("wgctl: {net} has host bits set: the pool is {}", net.trunc()));
    }
    let answer = with_pin(json!({ "server": server, "agent_token": token.as_str() }), pin);
    out.answer(&answer, || {
        let adopt = if server.adopt {
            format!(
                "\nThe command takes over {} as it is on the host. With --dry-run, it only shows how, and changes nothing.\n",
                server.interface
            )
        } else {
            String::new()
        };
        format!(
            "{} is registered: {} on {}; devices connect to {}.\n\n{}{adopt}",
            server.id,
            join(&server.address_pool),
            server.interface,
            server.endpoint,
            enrolment(plane.target(), pin, &token).as_str()
        )
    })
}

/// Adds the pin of the plane's key to the JSON output, if there is one.
fn with_pin(mut answer: Value, pin: Option<Pin>) -> Value {
    if let (Some(pin), Some(fields)) = (pin, answer.as_object_mut()) {
        fields.insert("pin".to_owned(), json!(pin));
    }
    answer
}

/// Returns the command to run on the host. The token is passed on stdin, so that no process list shows it.
fn enrolment(target: &Target, pin: Option<Pin>, token: &str) -> Zeroizing<String> {
    let (url, hint) = match target {
        Target::Url(url) => (url.as_str().trim_end_matches('/').to_owned(), ""),
        Target::Socket(_) => (
            "https://THE-PLANE".to_owned(),
            "\nReplace THE-PLANE with the address by which that host reaches this plane, and the port of its `listen` setting or of the proxy in front of it, for example plane.example.com:8443.\n",
        ),
    };
    let pin = pin.map(|pin| format!(" --pin {pin}")).unwrap_or_default();
    Zeroizing::new(format!(
        "Agent token (shown only once):\n\n  {token}\n\nRun this on the host, and enter the token when asked:\n\n  \
         sudo sentrazone-agent enroll --plane {url}{pin} --token-file -\n{hint}"
    ))
}

async fn list(plane: &PlaneClient, out: &Output, watch: Watch) -> Result<(), Failure> {
    let ask = async || Ok(plane.servers().await?);
    let what = format!("servers of {}", plane.target());
    watch.show(out, &what, ask, |servers: &Vec<Server>| view(servers)).await
}

fn view(servers: &[Server]) -> View {
    let mut table = Table::new(&[
        "ID",
        "…ENDPOINT",
        "…POOL",
        "INTERFACE",
        ">PEERS",
        ">REVISION",
        ">APPLIED",
    ]);
    for server in servers {
        let tone = if server.failed.is_some() {
            Tone::Bad
        } else {
            Tone::Plain
        };
        table.row(
            tone,
            [
                server.id.to_string(),
                server.endpoint.to_string(),
                join(&server.address_pool),
                server.interface.to_string(),
                server.peers.to_string(),
                server.desired_revision.to_string(),
                or_dash(server.applied_revision),
            ],
        );
    }
    let failed = |server: &Server| {
        let reason = server.failed.as_ref()?;
        Some(format!("{}: {}\n", server.id, plain(reason)))
    };
    View {
        table,
        notes: servers.iter().filter_map(failed).collect(),
    }
}

/// Describes one instance of drift on a single line.
pub(crate) fn drifted(drift: &Drift) -> String {
    let whose = match (&drift.peer, &drift.public_key) {
        (Some(peer), _) => format!(" of {peer}"),
        (None, Some(key)) => format!(" of {key}"),
        (None, None) if drift.count > 1 => format!(" ({})", drift.count),
        (None, None) => String::new(),
    };
    format!("{}{whose}: {} (since {})", drift.kind, drift.detail, drift.seen_at)
}

fn describe(server: &Server, out: &Output) -> String {
    let mut table = Table::without_header();
    table.field("id", server.id.as_str());
    table.field("endpoint", server.endpoint.to_string());
    table.field("pool", join(&server.address_pool));
    table.field("addresses", join(&server.addresses));
    table.field("interface", server.interface.as_str());
    table.field("listen port", server.listen_port.to_string());
    table.field("public key", or_dash(server.public_key));
    table.field("masquerade", if server.masquerade { "yes" } else { "no" });
    if server.adopt {
        table.field("adopt", "pending: enroll the host");
    }
    table.field("dns", join(&server.dns));
    table.field("allowed ips", join(&server.allowed_ips));
    table.field("mtu", or_dash(server.mtu));
    table.field("keepalive", or_dash(server.persistent_keepalive));
    table.field("ping target", or_dash(server.ping_target.as_ref()));
    table.field("drift policy", server.drift_policy.as_str());
    table.field("drift repaired", server.drift_repaired.to_string());
    table.field("peers", server.peers.to_string());
    table.field(
        "revision",
        format!(
            "{} (applied: {})",
            server.desired_revision,
            or_dash(server.applied_revision)
        ),
    );
    table.field("created", server.created_at.to_string());
    table.field("updated", server.updated_at.to_string());
    if let Some(reason) = &server.failed {
        table.row(Tone::Bad, ["failed", reason]);
    }
    for drift in &server.drift {
        table.row(Tone::Bad, ["drift", &drifted(drift)]);
    }
    out.table(table)
}
