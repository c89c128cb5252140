//! The names of the peers in a wg-quick file, which appear only in its comments.
//!
//! Owns the forms of comments that are recognized. It must not perform I/O.

use std::collections::BTreeMap;

use wgctl::config::Peer as Section;
use wgctl::{PeerName, PublicKey};

/// Returns the names of the peers, from comments directly above a `[Peer]` section or inside it.
pub(super) fn names(text: &str, sections: &[Section]) -> BTreeMap<PublicKey, PeerName> {
    let lines: Vec<&str> = text.lines().collect();
    let mut names = BTreeMap::new();
    for (at, section) in sections.iter().enumerate() {
        let head = section.line.saturating_sub(1);
        let next = sections
            .get(at + 1)
            .map_or(lines.len(), |next| next.line.saturating_sub(1));
        let above = comments_above(&lines, head);
        let inside = head..comments_above(&lines, next).start.max(head);
        let named = above.rev().chain(inside).find_map(|line| name(lines.get(line)?));
        if let Some(name) = named {
            names.insert(section.public_key, name);
        }
    }
    names
}

/// Returns the range of the lines directly above `head` that contain only comments.
fn comments_above(lines: &[&str], head: usize) -> std::ops::Range<usize> {
    let above = lines.get(..head).unwrap_or_default();
    let comments = above
        .iter()
        .rev()
        .take_while(|line| line.trim_start().starts_with('#'))
        .count();
    head - comments..head
}

/// Parses the name in a comment: `# alice`, `# Name = alice`, `### Client alice`, `### begin alice ###`.
fn name(line: &&str) -> Option<PeerName> {
    let (_, comment) = line.split_once('#')?;
    let comment = comment.trim_matches(|c: char| c == '#' || c.is_whitespace());
    let named = match comment.split_once(['=', ':']) {
        Some((key, value)) => {
            let keys = ["name", "client", "friendly_name", "peer", "user"];
            keys.contains(&key.trim().to_lowercase().as_str())
                .then_some(value.trim())?
        }
        None => match comment.split_once(' ') {
            Some((word, _)) if word.eq_ignore_ascii_case("end") => return None,
            Some((word, rest)) if ["client", "peer", "begin", "user"].contains(&word.to_lowercase().as_str()) => {
                rest.trim()
            }
            _ => comment,
        },
    };
    named.parse().ok()
}
