//! The human-readable preview of an enrolment.
//!
//! Owns the text. The plan comes from the code that would carry it out: `plan` for the peers, and `host` for the
//! rest. It must not change anything or show a secret.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use wgctl::device::plan::{ChangeKind, PeerChange, Scope, plan};
use wgctl::device::{Device, Plan};
use wgctl::protocol::v1::{Adopted, Terms};
use wgctl::{PeerName, PublicKey};

use super::adopt::{ExistingInterface, obstacles};
use super::wg_quick_file::Import;
use crate::reconcile::DesiredHost;

/// Returns the changes that the agent's first run makes to the WireGuard interface, one line each.
pub(crate) fn changes(whole: &DesiredHost, actual: &Device, names: &BTreeMap<PublicKey, PeerName>) -> Vec<String> {
    let Plan {
        private_key,
        listen_port,
        fwmark: _,
        peers,
    } = plan(&whole.device, actual, &Scope::All);
    let mut lines = Vec::new();
    if private_key.is_some() {
        lines.push("sets the private key".to_owned());
    }
    if let Some(port) = listen_port {
        lines.push(format!("changes the listen port from {} to {port}", actual.listen_port));
    }
    let known = peers
        .iter()
        .filter(|change| !whole.unknown.contains_key(&change.public_key));
    lines.extend(known.map(|change| change_of(change, names)));
    lines
}

fn change_of(change: &PeerChange, names: &BTreeMap<PublicKey, PeerName>) -> String {
    let key = change.public_key;
    let who = match names.get(&key) {
        Some(name) => format!("{name} ({key})"),
        None => key.to_string(),
    };
    match change.kind {
        ChangeKind::Create => format!("adds the peer {who}"),
        ChangeKind::Remove => format!("removes the peer {who}: it is not recorded, or is disabled"),
        ChangeKind::Update => format!("changes the peer {who}"),
    }
}

/// Returns the plan for an adoption. `first_run` lists the changes that the agent will make.
pub(crate) fn adoption(terms: &Terms, found: &ExistingInterface, adopted: &Adopted, first_run: &[String]) -> String {
    let interface = &adopted.recorded.interface;
    let mut words = format!(
        "{} becomes the interface of {} as it is{}:\n  private key of {} (kept, and never leaves this host)\n  listen \
         port {} (kept)\n  {} peers (kept), recorded as:\n",
        interface.name,
        terms.server_id,
        if found.runs {
            ""
        } else {
            ", created from the file by the agent's first run"
        },
        found.private_key.public_key(),
        interface.listen_port,
        found.device.peers.len(),
    );
    for peer in &adopted.clients {
        let mut nets: Vec<String> = peer.addresses.iter().map(ToString::to_string).collect();
        nets.extend(peer.networks.iter().map(ToString::to_string));
        let already = terms.recorded.peers.iter().any(|known| known.id == peer.id);
        let note = if already { "  (already recorded)" } else { "" };
        let _ = writeln!(
            words,
            "    {}  {}  {}{note}",
            peer.public_key,
            peer.name,
            nets.join(" ")
        );
    }
    section(&mut words, "The agent's first run changes", first_run, "nothing");
    words
}

/// Returns notes that accompany the plan.
pub(crate) fn notes(terms: &Terms, port: u16, import: Option<&Import>) -> Vec<String> {
    let (server, interface) = (&terms.server_id, &terms.recorded.interface);
    let mut notes = vec![format!(
        "if wg-quick manages {0}: `systemctl disable wg-quick@{0}` (without --now), so that only the agent manages \
         it. Do not run `wg-quick down {0}`: it deletes the interface and its sessions",
        interface.name
    )];
    if terms.endpoint.port() != port {
        notes.push(format!(
            "devices connect to {}, but the host listens on {port}: if nothing forwards one to the other, run `wgctl \
             server set {server} --endpoint {}:{port}`",
            terms.endpoint,
            terms.endpoint.host()
        ));
    }
    notes.extend(
        import
            .map(|import| import.notes(server, interface.mtu))
            .unwrap_or_default(),
    );
    notes
}

/// Returns the output of a dry run.
pub(crate) fn dry_run(mut words: String, adopted: Option<&Adopted>, notes: &[String]) -> String {
    section(&mut words, "Notes", notes, "");
    let in_the_way = adopted.map(|adopted| adopted.obstacles.as_slice()).unwrap_or_default();
    if !in_the_way.is_empty() {
        let _ = writeln!(words, "Obstacles that prevent the adoption:\n{}", obstacles(in_the_way));
    }
    words.push_str("This was a dry run: nothing was changed, here or on the plane.");
    words
}

/// Adds lines under a heading. If there are no lines, adds `none`, or no section if `none` is empty too.
pub(crate) fn section(words: &mut String, head: &str, lines: &[String], none: &str) {
    if lines.is_empty() && none.is_empty() {
        return;
    }
    let _ = writeln!(words, "{head}:");
    let none = [none.to_owned()];
    for line in if lines.is_empty() { &none } else { lines } {
        let _ = writeln!(words, "  {line}");
    }
}
