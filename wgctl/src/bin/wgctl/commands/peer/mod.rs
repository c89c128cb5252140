//! `peer`: the devices on a server.
//!
//! Owns the messages of these commands, and the search for a peer by its name or id. A configuration or QR
//! code is printed, or written to a file that only its owner can read. It must not be stored anywhere else.

mod arguments;
mod bulk;
mod display;

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use wgctl::api::{Peer, PeerPatch};
use wgctl::client::PlaneClient;
use wgctl::{PeerId, PeerName, ServerId};
use zeroize::Zeroizing;

use self::arguments::{Add, Changes};
use self::display::{added, applied, describe, shell_word, view};
use crate::failure::Failure;
use crate::output_file::write_secret;
use crate::terminal::output::Output;
use crate::terminal::qr_code;
use crate::terminal::watch::Watch;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Add a device, or many from a file
    Add(Add),
    /// Show all devices on a server
    List(List),
    /// Show one device
    Show(PeerSelector),
    /// Allow a device to connect again
    Enable(PeerSelector),
    /// Stop a device from connecting
    Disable(PeerSelector),
    /// Rename a device
    Rename {
        #[command(flatten)]
        which: PeerSelector,
        /// The new name
        new_name: PeerName,
    },
    /// Change a device
    Set {
        #[command(flatten)]
        which: PeerSelector,
        #[command(flatten)]
        changes: Changes,
    },
    /// Remove a device
    Remove(PeerSelector),
    /// Print a device's wg-quick configuration, which contains its private key
    Config {
        #[command(flatten)]
        which: PeerSelector,
        /// Write it to a file that only its owner can read
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Draw a device's configuration as a QR code, which contains its private key
    Qr {
        #[command(flatten)]
        which: PeerSelector,
        /// Print an SVG instead of drawing in the terminal
        #[arg(long)]
        svg: bool,
    },
}

#[derive(Args)]
pub(crate) struct PeerSelector {
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
    /// By creation time
    #[default]
    Created,
    Name,
    Address,
    /// Failed ones first, then pending ones, then the others
    State,
    /// By the latest handshake, newest first
    Handshake,
    /// By total traffic, highest first
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
                out.done(&format!("{} has been removed from {}.\n", peer.name, which.server))
            }
            Self::Config { which, output } => configuration(plane, out, &which, output.as_deref()).await,
            Self::Qr { which, svg } => qr_code(plane, out, &which, svg).await,
        }
    }
}

impl PeerSelector {
    /// Finds the peer with this id or name.
    async fn find(&self, plane: &PlaneClient) -> Result<Peer, Failure> {
        let Self { server, peer: word } = self;
        let id = word.parse::<PeerId>().ok();
        let mut found = plane.peers_like(server, word, None).await?;
        found.retain(|peer| peer.name.as_str() == word || Some(peer.id) == id);
        if let [one, another, ..] = found.as_slice() {
            return Err(Failure::Local(format!(
                "{word:?} is the id of {:?} and the name of another peer of {server}: use the id of the one you \
                 mean, {} or {}",
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

async fn switch(plane: &PlaneClient, out: &Output, which: &PeerSelector, enabled: bool) -> Result<(), Failure> {
    let found = which.find(plane).await?;
    let peer = plane.set_peer_enabled(&which.server, found.id, enabled).await?;
    let words = if peer.enabled { "enabled" } else { "disabled" };
    out.changed(&peer, || match peer.expires_at.filter(|_| peer.enabled && peer.expired) {
        Some(end) => format!(
            "{name} is enabled, but expired at {end}: `wgctl peer set {server} {name} --expires never` lets it connect again.\n",
            name = peer.name,
            server = which.server
        ),
        None => format!("{} is {words} ({}).\n", peer.name, applied(&peer)),
    })
}

async fn change(plane: &PlaneClient, out: &Output, which: &PeerSelector, patch: &PeerPatch) -> Result<(), Failure> {
    let found = which.find(plane).await?;
    let peer = plane.update_peer(&which.server, found.id, patch).await?;
    out.changed(&peer, || describe(&peer, out))
}

async fn configuration(
    plane: &PlaneClient,
    out: &Output,
    which: &PeerSelector,
    path: Option<&Path>,
) -> Result<(), Failure> {
    let peer = which.find(plane).await?;
    let text = Zeroizing::new(plane.peer_configuration(&which.server, peer.id).await?);
    match path.filter(|path| *path != Path::new("-")) {
        Some(path) => {
            write_secret(path, text.as_bytes())?;
            out.done(&format!(
                "Wrote {}'s configuration to {}, readable only by you.\n",
                peer.name,
                path.display()
            ))
        }
        None if out.json() => out.answer(&json!({ "configuration": text.as_str() }), String::new),
        None => {
            out.warn_if_world_readable();
            out.text(&text)
        }
    }
}

async fn qr_code(plane: &PlaneClient, out: &Output, which: &PeerSelector, svg: bool) -> Result<(), Failure> {
    let peer = which.find(plane).await?;
    if !peer.private_key_held {
        let (server, name) = (&which.server, shell_word(peer.name.as_str()));
        return Err(Failure::Local(format!(
            "there is no QR code without the private key: use `wgctl peer config {server} {name}` and insert the \
             device's own PrivateKey"
        )));
    }
    if svg || out.json() {
        out.warn_if_world_readable();
        let svg = Zeroizing::new(plane.peer_qrcode(&which.server, peer.id).await?);
        return if out.json() {
            out.answer(&json!({ "svg": svg.as_str() }), String::new)
        } else {
            out.text(&svg)
        };
    }
    let text = Zeroizing::new(plane.peer_configuration(&which.server, peer.id).await?);
    let drawing = qr_code::draw(text.as_bytes(), out.colour()).map_err(|error| {
        let PeerSelector { server, peer } = which;
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

    /// Sorts the peers, which the plane returns in the order of their creation.
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
