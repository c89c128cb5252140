//! The last desired state on disk, for a boot without a plane.
//!
//! Owns the file, its checksum and its refusal: a cache that cannot be trusted is an error that
//! says so, and is never read as "no peers".

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use wgctl::file;

use crate::desired::State;

const NAME: &str = "desired.cache";
/// What the first line begins with; the checksum of everything after that line follows.
const HEADER: &str = "sentrazone-desired 1 sha256:";

/// Why there is no state to be had from the cache.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what was written.
    #[error(
        "{} is damaged ({reason}): it is not used, and the interface is left as it is until the plane answers",
        path.display()
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// How that shows.
        reason: &'static str,
    },
}

/// Whether there is a cache, of whatever content.
#[must_use]
pub fn exists(folder: &Path) -> bool {
    folder.join(NAME).exists()
}

/// The cached state; `None` when nothing was ever cached.
pub fn load(folder: &Path) -> Result<Option<State>, Error> {
    let path = folder.join(NAME);
    let content = match std::fs::read(&path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::File { path, source }),
    };
    parse(&content)
        .map(Some)
        .map_err(|reason| Error::Damaged { path, reason })
}

/// Replaces the cache, whole or not at all.
pub fn save(folder: &Path, state: &State) -> Result<(), Error> {
    let path = folder.join(NAME);
    let failed = |source| Error::File {
        path: path.clone(),
        source,
    };
    let body = serde_json::to_vec(state).map_err(|error| failed(io::Error::other(error)))?;
    let mut content = format!("{HEADER}{}\n", checksum(&body)).into_bytes();
    content.extend_from_slice(&body);
    file::write_private(&path, &content).map_err(failed)
}

fn parse(content: &[u8]) -> Result<State, &'static str> {
    if content.is_empty() {
        return Err("it is empty");
    }
    let end = content
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or("it is cut short")?;
    let (header, body) = content.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    let header = std::str::from_utf8(header).map_err(|_| "its first line is not text")?;
    let sum = header
        .strip_prefix(HEADER)
        .ok_or("its first line is not that of a cache of this version")?;
    if sum != checksum(body) {
        return Err("its checksum does not match");
    }
    serde_json::from_slice(body).map_err(|_| "its content makes no sense")
}

fn checksum(body: &[u8]) -> String {
    Sha256::digest(body).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use wgctl::name::Incarnation;

    use super::*;
    use crate::desired::tests::{interface, peer, server};

    fn state() -> State {
        let peers = (2..10).map(peer).map(|peer| (peer.id, peer)).collect();
        State {
            server_id: server(),
            incarnation: Incarnation::random(),
            revision: 7,
            interface: interface(),
            peers,
        }
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load(folder.path()).unwrap().is_none());
        let state = state();
        save(folder.path(), &state).unwrap();
        assert_eq!(load(folder.path()).unwrap(), Some(state));
    }

    #[test]
    fn every_truncation_and_every_flipped_byte_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), &state()).unwrap();
        let whole = std::fs::read(folder.path().join(NAME)).unwrap();
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_err(), "cut to {length} bytes");
        }
        for index in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[index] ^= 1;
            assert!(parse(&flipped).is_err(), "byte {index} flipped");
        }
    }
}
