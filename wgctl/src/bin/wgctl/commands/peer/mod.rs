//! `peer`: the devices of a server.
//!
//! Owns the words of these commands, and finding a peer by its name or id. A configuration or QR
//! code goes to the terminal or into a file only its owner can read; it is kept nowhere else.

mod arguments;
mod bulk;

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use wgctl::api::{Peer, PeerPatch};
use wgctl::client::PlaneClient;
use wgctl::{PeerId, PeerName, ServerId, Timestamp};
use zeroize::Zeroizing;

use self::arguments::{Add, Changes};
use crate::failure::Failure;
use crate::output_file::write_secret;
use crate::terminal::output::Output;
use crate::terminal::qr_code;
use crate::terminal::table::{Table, Tone};
use crate::terminal::text::{ago, bytes, duration, join, or_dash, plain};
use crate::terminal::watch::{View, Watch};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Add a device, or many from a file
    Add(Add),
    /// Show all devices of a server
    List(List),
    /// Show one device
    Show(Which),
    /// Allow a device to connect again
    Enable(Which),
    /// Forbid a device to connect
    Disable(Which),
    /// Rename a device
    Rename {
        #[command(flatten)]
        which: Which,
        /// The new name
        new_name: PeerName,
    },
    /// Change a device
    Set {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        changes: Changes,
    },
    /// Remove a device
    Remove(Which),
    /// Print a device's wg-quick configuration, which contains its private key
    Config {
        #[command(flatten)]
        which: Which,
        /// Write it to a file that only its owner can read
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Draw a device's configuration as a QR code, which contains its private key
    Qr {
        #[command(flatten)]
        which: Which,
        /// Print an SVG instead of drawing in the terminal
        #[arg(long)]
        svg: bool,
    },
}

#[derive(Args)]
pub(crate) struct Which {
    /// The server
    server: ServerId,
    /// The device's name or id
    peer: String,
}

#[derive(Args)]
pub(crate) struct List {
    /// The server
    server: ServerId,
    /// The order of the list
    #[arg(long, value_enum, default_value_t)]
    sort: Order,
    /// Reverse the order
    #[arg(long)]
    reverse: bool,
    #[command(flatten)]
    watch: Watch,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Order {
    /// By the time of creation
    #[default]
    Created,
    Name,
    Address,
    /// Failed ones first, then pending ones, then the others
    State,
    /// By the latest handshake, newest first
    Handshake,
    /// By traffic, the most first
    Traffic,
}

impl Command {
    pub(crate) async fn run(self, plane: &PlaneClient, out: &Output) -> Result<(), Failure> {
        match self {
            Self::Add(add) => match add.many() {
                Some(many) => bulk::add(plane, out, &add, many).await,
                None => {
                    let peer = plane.create_peer(&add.server, &add.request(out.now()), None).await?;
                    out.changed(&peer, || added(&add.server, &peer))
                }
            },
            Self::List(list) => list.run(plane, out).await,
            Self::Show(which) => {
                let peer = which.find(plane).await?;
                out.answer(&peer, || describe(&peer, out))
            }
            Self::Enable(which) => switch(plane, out, &which, true).await,
            Self::Disable(which) => switch(plane, out, &which, false).await,
            Self::Rename { which, new_name } => {
                let patch = PeerPatch {
                    name: Some(new_name),
                    ..PeerPatch::default()
                };
                change(plane, out, &which, &patch).await
            }
            Self::Set { which, changes } => change(plane, out, &which, &changes.request(out.now())).await,
            Self::Remove(which) => {
                let peer = which.find(plane).await?;
                plane.remove_peer(&which.server, peer.id).await?;
                out.done(&format!("{} is removed from {}.\n", peer.name, which.server))
            }
            Self::Config { which, output } => configuration(plane, out, &which, output.as_deref()).await,
            Self::Qr { which, svg } => qr_code(plane, out, &which, svg).await,
        }
    }
}

impl Which {
    /// The peer with this id or this name.
    async fn find(&self, plane: &PlaneClient) -> Result<Peer, Failure> {
        let Self { server, peer: word } = self;
        let id = word.parse::<PeerId>().ok();
        let mut found = plane.peers_like(server, word, None).await?;
        found.retain(|peer| peer.name.as_str() == word || Some(peer.id) == id);
        if let [one, another, ..] = found.as_slice() {
            return Err(Failure::Local(format!(
                "{word:?} is the id of {:?} and the name of another peer of {server}: name the one you mean by its \
                 own id, {} or {}",
                if Some(one.id) == id { &one.name } else { &another.name }.as_str(),
                one.id,
                another.id
            )));
        }
        found.pop().ok_or_else(|| {
            Failure::NotFound(format!(
                "{server} has no peer with the name or id {word:?}: see `wgctl peer list {server}`"
            ))
        })
    }
}

async fn switch(plane: &PlaneClient, out: &Output, which: &Which, enabled: bool) -> Result<(), Failure> {
    let found = which.find(plane).await?;
    let peer = plane.set_peer_enabled(&which.server, found.id, enabled).await?;
    let words = if peer.enabled { "enabled" } else { "disabled" };
    out.changed(&peer, || match peer.expires_at.filter(|_| peer.enabled && peer.expired) {
        Some(end) => format!(
            "{name} is enabled, but expired at {end}: `wgctl peer set {server} {name} --expires never` lets it in.\n",
            name = peer.name,
            server = which.server
        ),
        None => format!("{} is {words} ({}).\n", peer.name, applied(&peer)),
    })
}

async fn change(plane: &PlaneClient, out: &Output, which: &Which, patch: &PeerPatch) -> Result<(), Failure> {
    let found = which.find(plane).await?;
    let peer = plane.update_peer(&which.server, found.id, patch).await?;
    out.changed(&peer, || describe(&peer, out))
}

async fn configuration(plane: &PlaneClient, out: &Output, which: &Which, path: Option<&Path>) -> Result<(), Failure> {
    let peer = which.find(plane).await?;
    let text = Zeroizing::new(plane.peer_configuration(&which.server, peer.id).await?);
    match path.filter(|path| *path != Path::new("-")) {
        Some(path) => {
            write_secret(path, text.as_bytes())?;
            out.done(&format!(
                "{}'s configuration is in {}: readable by you alone.\n",
                peer.name,
                path.display()
            ))
        }
        None if out.json() => out.answer(&json!({ "configuration": text.as_str() }), String::new),
        None => {
            out.warn_of_open_file();
            out.text(&text)
        }
    }
}

async fn qr_code(plane: &PlaneClient, out: &Output, which: &Which, svg: bool) -> Result<(), Failure> {
    let peer = which.find(plane).await?;
    if !peer.private_key_held {
        let (server, name) = (&which.server, shell_word(peer.name.as_str()));
        return Err(Failure::Local(format!(
            "no QR code without the private key: use `wgctl peer config {server} {name}` and put the device's own \
             PrivateKey in"
        )));
    }
    if svg || out.json() {
        out.warn_of_open_file();
        let svg = Zeroizing::new(plane.peer_qrcode(&which.server, peer.id).await?);
        return if out.json() {
            out.answer(&json!({ "svg": svg.as_str() }), String::new)
        } else {
            out.text(&svg)
        };
    }
    let text = Zeroizing::new(plane.peer_configuration(&which.server, peer.id).await?);
    let drawing = qr_code::draw(text.as_bytes(), out.colour()).map_err(|error| {
        let Which { server, peer } = which;
        Failure::Local(format!("{error}: use `wgctl peer config {server} {peer} -o FILE`"))
    })?;
    out.text(&drawing)
}

impl List {
    async fn run(self, plane: &PlaneClient, out: &Output) -> Result<(), Failure> {
        let ask = async || {
            let mut peers = plane.peers(&self.server).await?;
            self.arrange(&mut peers);
            Ok(peers)
        };
        let what = format!("peers of {} at {}", self.server, plane.target());
        self.watch
            .show(out, &what, ask, |peers: &Vec<Peer>| view(peers, out.now()))
            .await
    }

    /// They come in the order in which they were made.
    fn arrange(&self, peers: &mut [Peer]) {
        match self.sort {
            Order::Created => {}
            Order::Name => peers.sort_by_cached_key(|peer| (peer.name.as_str().to_lowercase(), peer.id)),
            Order::Address => peers.sort_by_key(|peer| peer.address),
            Order::State => {
                peers.sort_by_key(|peer| (peer.failed.is_none(), peer.applied, peer.enabled, !peer.expired))
            }
            Order::Handshake => peers.sort_by_key(|peer| Reverse(peer.latest_handshake_at)),
            Order::Traffic => {
                peers.sort_by_key(|peer| Reverse(peer.transfer_rx.saturating_add(peer.transfer_tx)));
            }
        }
        if self.reverse {
            peers.reverse();
        }
    }
}

fn view(peers: &[Peer], now: Timestamp) -> View {
    let mut table = Table::new(&["…NAME", "…ADDRESS", "STATE", "~HANDSHAKE", ">RECEIVED", ">SENT", "ID"]);
    for peer in peers {
        table.row(
            tone(peer),
            [
                peer.name.to_string(),
                join(&peer.addresses),
                state(peer, now),
                ago(peer.latest_handshake_at, now),
                bytes(peer.transfer_rx),
                bytes(peer.transfer_tx),
                peer.id.to_string(),
            ],
        );
    }
    View {
        table,
        notes: reasons(peers),
    }
}

const fn tone(peer: &Peer) -> Tone {
    match (peer.failed.is_some(), peer.enabled && !peer.expired) {
        (true, _) => Tone::Bad,
        (false, true) => Tone::Plain,
        (false, false) => Tone::Quiet,
    }
}

fn state(peer: &Peer, now: Timestamp) -> String {
    if peer.failed.is_some() {
        return "failed".to_owned();
    }
    let decided = match (peer.enabled, peer.expired) {
        (false, _) => "disabled",
        (true, true) => "expired",
        (true, false) => "enabled",
    };
    match peer.pending_since.filter(|_| !peer.applied) {
        None if peer.applied => decided.to_owned(),
        None => format!("{decided}, pending"),
        Some(since) => format!("{decided}, pending for {}", duration(now.since(since))),
    }
}

/// Why hosts refuse peers, a line each.
fn reasons(peers: &[Peer]) -> String {
    let failed = |peer: &Peer| {
        let reason = peer.failed.as_ref()?;
        Some(format!("{}: {}\n", peer.name, plain(reason)))
    };
    peers.iter().filter_map(failed).collect()
}

fn applied(peer: &Peer) -> String {
    match (&peer.failed, peer.applied) {
        (Some(reason), _) => format!("recorded, but the host refuses it: {}", plain(reason)),
        (None, true) => "the host has applied it".to_owned(),
        (None, false) => "recorded; the host applies it when its agent is back".to_owned(),
    }
}

fn added(server: &ServerId, peer: &Peer) -> String {
    let head = format!(
        "{} has {} on {server} ({}).\n",
        peer.name,
        join(&peer.addresses),
        applied(peer)
    );
    let quoted = shell_word(peer.name.as_str());
    if peer.private_key_held {
        return format!(
            "{head}Next: wgctl peer qr {server} {quoted}, or: wgctl peer config {server} {quoted} -o FILE\n"
        );
    }
    let needed = if peer.preshared_key {
        " (the device needs the preshared key in it)"
    } else {
        ""
    };
    format!("{head}Next: wgctl peer config {server} {quoted} -o FILE{needed}, and put the device's own PrivateKey in\n")
}

/// A word as a shell reads it back.
fn shell_word(text: &str) -> String {
    if text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.@".contains(c)) && !text.starts_with('-') {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn describe(peer: &Peer, out: &Output) -> String {
    let now = out.now();
    let mut table = Table::without_header();
    table.field("id", peer.id.to_string());
    table.field("name", peer.name.as_str());
    table.row(tone(peer), ["state", &state(peer, now)]);
    table.field("addresses", join(&peer.addresses));
    table.field("public key", peer.public_key.to_string());
    table.field(
        "private key",
        if peer.private_key_held {
            "sealed, held by the agent"
        } else {
            "kept by the device"
        },
    );
    table.field("preshared key", if peer.preshared_key { "yes" } else { "no" });
    table.field("allowed ips", join(&peer.allowed_ips));
    table.field("networks behind it", join(&peer.server_allowed_ips));
    table.field("dns", join(&peer.dns));
    table.field("mtu", or_dash(peer.mtu));
    table.field("keepalive", or_dash(peer.persistent_keepalive));
    table.field("latest handshake", ago(peer.latest_handshake_at, now));
    table.field("received", bytes(peer.transfer_rx));
    table.field("sent", bytes(peer.transfer_tx));
    table.field(
        "expires",
        peer.expires_at.map_or_else(|| "never".to_owned(), |at| at.to_string()),
    );
    table.field("created", peer.created_at.to_string());
    table.field("updated", peer.updated_at.to_string());
    if let Some(since) = peer.pending_since {
        table.field("pending since", since.to_string());
    }
    if let Some(reason) = &peer.failed {
        table.row(Tone::Bad, ["failed", reason]);
    }
    out.table(table)
}
