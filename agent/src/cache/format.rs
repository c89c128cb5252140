//! The format of the cache file: a first line, a snapshot, and the changes since the snapshot, each with a
//! checksum.
//!
//! Owns the format and its integrity checks. It must not perform I/O. Each entry is one line: `S` or `D`, the
//! checksum in hexadecimal, and the content as JSON. A checksum is the SHA-256 of the previous checksum and the
//! content, so that an entry that has been modified, moved, or removed from the middle is detected. The first
//! line gives the minimum number of changes, so that a loss at the end is detected too.

use std::fmt::Write as _;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::desired::{Delta, State};

/// The beginning of the first line.
const FIRST: &str = "sentrazone-desired 2";

/// Returns the first line of a cache with this many changes on disk. Its length is constant. The number is
/// written twice, so that a corrupted digit is detected.
pub(super) fn first_line(changes: u32) -> String {
    format!("{FIRST} {changes:010} {changes:010}\n")
}

/// Parses the first line. Returns the minimum number of changes that must follow it.
fn promised(line: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(line).ok()?.strip_prefix(FIRST)?.get(1..11)?;
    let promised = digits.parse().ok()?;
    (line == first_line(promised).as_bytes()).then_some(promised)
}

/// The checksum of the last entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Chain([u8; 32]);

impl Chain {
    fn after(self, body: &[u8]) -> Self {
        Self(Sha256::new().chain_update(self.0).chain_update(body).finalize().into())
    }

    fn text(self) -> String {
        self.0.iter().fold(String::new(), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// The content of a cache.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Content {
    /// The snapshot with all later changes applied.
    pub(super) state: State,
    /// The checksum from which the next entry continues.
    pub(super) chain: Chain,
    /// The lengths of the snapshot entry and of the change entries, in bytes.
    pub(super) snapshot: usize,
    pub(super) changes: usize,
    /// The number of changes.
    pub(super) count: u32,
    /// True if the last entry was truncated during a write.
    pub(super) torn: bool,
}

/// Returns the bytes of a complete cache that holds `state`.
pub(super) fn snapshot(state: &State) -> serde_json::Result<(Vec<u8>, Chain)> {
    let mut content = first_line(0).into_bytes();
    let (line, chain) = line('S', Chain::default(), state)?;
    content.extend_from_slice(&line);
    Ok((content, chain))
}

/// Returns the line for one change, which follows the entry with the checksum `chain`.
pub(super) fn change(chain: Chain, delta: &Delta) -> serde_json::Result<(Vec<u8>, Chain)> {
    line('D', chain, delta)
}

fn line(kind: char, chain: Chain, content: &impl Serialize) -> serde_json::Result<(Vec<u8>, Chain)> {
    let body = serde_json::to_vec(content)?;
    let chain = chain.after(&body);
    let mut line = format!("{kind} {} ", chain.text()).into_bytes();
    line.extend_from_slice(&body);
    line.push(b'\n');
    Ok((line, chain))
}

/// Parses a complete cache. A crash can leave an incomplete last line; that change was never confirmed, so it is
/// ignored. Any other damage is an error: with a change missing from the state, the agent would remove peers that
/// belong on the interface.
pub(super) fn parse(content: &[u8]) -> Result<Content, &'static str> {
    let (whole, torn) = match content.iter().rposition(|byte| *byte == b'\n') {
        None if content.is_empty() => return Err("the file is empty"),
        None => return Err("the file is truncated"),
        Some(end) => content.split_at(end + 1),
    };
    let mut lines = whole.split_inclusive(|byte| *byte == b'\n');
    let promised = lines
        .next()
        .and_then(promised)
        .ok_or("its first line does not belong to a cache of this version")?;
    let first = lines.next().ok_or("the file is truncated")?;
    let (body, mut chain) = entry(b'S', Chain::default(), first)?;
    let mut state: State = serde_json::from_slice(body).map_err(|_| "its snapshot cannot be parsed")?;
    let (mut changes, mut count) = (0, 0u32);
    for line in lines {
        let (body, next) = entry(b'D', chain, line)?;
        let delta: Delta = serde_json::from_slice(body).map_err(|_| "one of its changes cannot be parsed")?;
        state.change(delta);
        chain = next;
        changes += line.len();
        count = count.saturating_add(1);
    }
    if count < promised {
        return Err("the file is truncated: changes are missing at its end");
    }
    Ok(Content {
        state,
        chain,
        snapshot: first.len(),
        changes,
        count,
        torn: !torn.is_empty(),
    })
}

fn entry(kind: u8, chain: Chain, line: &[u8]) -> Result<(&[u8], Chain), &'static str> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let (Some([found]), Some(sum), Some(body)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("one of its lines is not an entry");
    };
    let chain = chain.after(body);
    if *found != kind || sum != chain.text().as_bytes() {
        return Err("the checksum of an entry does not match");
    }
    Ok((body, chain))
}

#[cfg(test)]
mod tests {
    use wgctl::name::Incarnation;

    use super::*;
    use crate::desired::tests::{interface, peer, server};

    fn state() -> State {
        let peers = (2..8).map(peer).map(|peer| (peer.id, peer)).collect();
        State {
            server_id: server(),
            incarnation: Incarnation::random(),
            revision: 7,
            interface: interface(),
            peers,
        }
    }

    /// Returns a snapshot followed by one added and one removed peer, with the state and the length after each
    /// entry.
    fn written() -> (Vec<u8>, Vec<State>, Vec<usize>) {
        let mut state = state();
        let (mut content, mut chain) = snapshot(&state).unwrap();
        let (mut states, mut ends) = (vec![state.clone()], vec![content.len()]);
        let gone = *state.peers.keys().next().unwrap();
        let deltas = [(8, vec![peer(20)], vec![]), (9, vec![], vec![gone])];
        for (revision, upsert, remove) in deltas {
            let delta = Delta {
                revision,
                interface: None,
                upsert,
                remove,
            };
            let (line, next) = change(chain, &delta).unwrap();
            content.extend_from_slice(&line);
            chain = next;
            state.change(delta);
            states.push(state.clone());
            ends.push(content.len());
        }
        (content, states, ends)
    }

    #[test]
    fn a_snapshot_and_its_changes_restore_the_latest_state() {
        let (content, states, _) = written();
        let read = parse(&content).unwrap();
        assert_eq!(Some(&read.state), states.last());
        assert!(!read.torn);
        assert_eq!((read.state.revision, read.state.peers.len()), (9, 6));
    }

    #[test]
    fn a_cache_with_fewer_changes_than_its_first_line_states_is_refused() {
        let (mut content, states, ends) = written();
        content[..first_line(0).len()].copy_from_slice(first_line(1).as_bytes());
        for length in 0..content.len() {
            let read = parse(&content[..length]);
            assert_eq!(read.is_ok(), length >= ends[1], "truncated to {length} bytes");
            assert!(read.is_err() || read.is_ok_and(|read| read.state == states[1]));
        }
        assert_eq!(parse(&content).unwrap().count, 2);
    }

    #[test]
    fn a_cache_truncated_anywhere_is_refused_or_yields_its_last_complete_entry() {
        let (content, states, ends) = written();
        for length in 0..content.len() {
            let whole = ends.iter().rposition(|end| *end <= length);
            match (parse(&content[..length]), whole) {
                (Err(_), None) => {}
                (Ok(read), Some(at)) => {
                    assert_eq!(read.state, states[at], "truncated to {length} bytes");
                    assert_eq!(read.torn, ends[at] != length, "truncated to {length} bytes");
                }
                (read, whole) => panic!("truncated to {length} bytes, last complete entry {whole:?}: {read:?}"),
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_detected_or_costs_at_most_the_last_change() {
        let (content, states, _) = written();
        for index in 0..content.len() {
            for bit in 0..8 {
                let mut flipped = content.clone();
                flipped[index] ^= 1 << bit;
                if let Ok(read) = parse(&flipped) {
                    assert_eq!(index, content.len() - 1, "only the last line's newline may be lost");
                    assert!(read.torn && read.state == states[1]);
                }
            }
        }
    }

    #[test]
    fn swapped_missing_or_duplicate_changes_are_refused() {
        let (content, _, ends) = written();
        let (head, first, second) = (
            &content[..ends[0]],
            &content[ends[0]..ends[1]],
            &content[ends[1]..ends[2]],
        );
        assert!(parse(&[head, second, first].concat()).is_err());
        assert!(parse(&[head, second].concat()).is_err());
        assert!(parse(&[head, first, first].concat()).is_err());
    }
}
