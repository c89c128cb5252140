//! Peers as text: the table, a single peer, and the confirmation of a change.
//!
//! Owns the wording. It must not contact the plane.

use wgctl::api::Peer;
use wgctl::{ServerId, Timestamp};

use crate::terminal::output::Output;
use crate::terminal::table::{Table, Tone};
use crate::terminal::text::{ago, bytes, duration, join, or_dash, plain};
use crate::terminal::watch::View;

pub(super) fn view(peers: &[Peer], now: Timestamp) -> View {
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

/// Returns the reasons why hosts have refused peers, one per line.
fn reasons(peers: &[Peer]) -> String {
    let failed = |peer: &Peer| {
        let reason = peer.failed.as_ref()?;
        Some(format!("{}: {}\n", peer.name, plain(reason)))
    };
    peers.iter().filter_map(failed).collect()
}

pub(super) fn applied(peer: &Peer) -> String {
    match (&peer.failed, peer.applied) {
        (Some(reason), _) => format!("recorded, but the host refuses it: {}", plain(reason)),
        (None, true) => "applied by the host".to_owned(),
        (None, false) => "recorded; the host will apply the change when its agent connects".to_owned(),
    }
}

pub(super) fn added(server: &ServerId, peer: &Peer) -> String {
    let head = format!(
        "{} has {} on {server} ({}).\n",
        peer.name,
        join(&peer.addresses),
        applied(peer)
    );
    let quoted = shell_word(peer.name.as_str());
    if peer.private_key_held {
        return format!(
            "{head}Next: run wgctl peer qr {server} {quoted}, or wgctl peer config {server} {quoted} -o FILE\n"
        );
    }
    let needed = if peer.preshared_key {
        " into FILE, which also contains the preshared key that the device needs"
    } else {
        ""
    };
    format!(
        "{head}Next: run wgctl peer config {server} {quoted} -o FILE, and insert the device's own PrivateKey{needed}\n"
    )
}

/// Quotes a word for a shell, if necessary.
pub(super) fn shell_word(text: &str) -> String {
    if text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.@".contains(c)) && !text.starts_with('-') {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

pub(super) fn describe(peer: &Peer, out: &Output) -> String {
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
