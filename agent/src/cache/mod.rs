//! The last desired state on disk, for a boot without a plane.
//!
//! Owns the file and its refusal: a cache that cannot be trusted is an error, and is never read as "no
//! peers". A change is appended and synced before it reaches the kernel, so that whatever was confirmed
//! survives a power cut. From time to time the whole state is written again. It must not decide what
//! becomes of the state.

mod format;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use wgctl::{ServerId, file};

use crate::desired::{Delta, State};
use format::Chain;

const NAME: &str = "desired.cache";
/// Changes of this many bytes may accumulate, however small the snapshot is.
const SMALL: usize = 64 * 1024;

/// A cache that gives no state.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The content is not as it was written.
    #[error(
        "{} is damaged ({reason}): it is not used, and the interface is left as it is until the plane answers",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The sign of the damage.
        reason: &'static str,
    },
}

/// Returns whether a cache file exists, whatever its content.
#[must_use]
pub fn exists(folder: &Path) -> bool {
    folder.join(NAME).exists()
}

/// The cached state; `None` when nothing was ever cached.
pub fn load(folder: &Path) -> Result<Option<State>, Error> {
    Ok(read(&folder.join(NAME))?.map(|content| content.state))
}

/// The server whose state is cached; none without a readable cache.
#[must_use]
pub fn server_of(folder: &Path) -> Option<ServerId> {
    load(folder).ok().flatten().map(|state| state.server_id)
}

fn read(path: &Path) -> Result<Option<format::Content>, Error> {
    let content = match std::fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(Error::File {
                path: path.to_owned(),
                source,
            });
        }
    };
    format::parse(&content).map(Some).map_err(|reason| Error::Damaged {
        path: path.to_owned(),
        reason,
    })
}

/// The cache, open for writing. A folder must have only one.
#[derive(Debug)]
pub struct Cache {
    path: PathBuf,
    end: Option<Tail>,
    /// The last write failed: the file is older than the state.
    behind: bool,
}

/// The end of the file, where the next change is appended.
#[derive(Debug)]
struct Tail {
    file: File,
    chain: Chain,
    snapshot: usize,
    changes: usize,
    count: u32,
}

impl Tail {
    /// The length of the file, bytes.
    fn length(&self) -> u64 {
        u64::try_from(format::first_line(0).len() + self.snapshot + self.changes).unwrap_or(u64::MAX)
    }
}

impl Cache {
    /// The cache of a folder, with its state, if any. A file that cannot be trusted stays until it is
    /// replaced.
    pub fn open(folder: &Path) -> (Self, Result<Option<State>, Error>) {
        let mut cache = Self {
            path: folder.join(NAME),
            end: None,
            behind: false,
        };
        let content = match read(&cache.path) {
            Ok(None) => return (cache, Ok(None)),
            Ok(Some(content)) => content,
            Err(error) => return (cache, Err(error)),
        };
        if content.torn {
            let path = cache.path.display();
            tracing::warn!("{path}: its last change was cut off in a crash and is left out; the plane tells it again");
        } else if let Ok(file) = OpenOptions::new().write(true).open(&cache.path) {
            cache.end = Some(Tail {
                file,
                chain: content.chain,
                snapshot: content.snapshot,
                changes: content.changes,
                count: content.count,
            });
        }
        (cache, Ok(Some(content.state)))
    }

    /// Returns whether the last write failed, so that the next one must write everything.
    #[must_use]
    pub const fn is_behind(&self) -> bool {
        self.behind
    }

    /// Writes the change that led to `state`, or everything if there is none. It is on disk when this
    /// returns.
    pub fn write(&mut self, state: &State, delta: Option<&Delta>) -> Result<(), Error> {
        // Half a line may have been written, and the next one would not fit: write everything again.
        let end = self.end.take();
        let written = match (end, delta) {
            (Some(end), Some(delta)) if !self.behind && end.changes < end.snapshot.max(SMALL) => append(end, delta),
            _ => replace(&self.path, state),
        };
        self.behind = written.is_err();
        self.end = Some(written.map_err(|source| Error::File {
            path: self.path.clone(),
            source,
        })?);
        Ok(())
    }
}

fn append(mut end: Tail, delta: &Delta) -> io::Result<Tail> {
    let (line, chain) = format::change(end.chain, delta)?;
    end.file.write_all_at(&line, end.length())?;
    end.file.sync_data()?;
    end.chain = chain;
    end.changes += line.len();
    end.count = end.count.saturating_add(1);
    // Reaches the disk with the next change: after a power cut the number may be one too low, never
    // too high.
    end.file.write_all_at(format::first_line(end.count).as_bytes(), 0)?;
    Ok(end)
}

fn replace(path: &Path, state: &State) -> io::Result<Tail> {
    let (content, chain) = format::snapshot(state)?;
    file::write_private(path, &content)?;
    Ok(Tail {
        file: OpenOptions::new().write(true).open(path)?,
        chain,
        snapshot: content.len() - format::first_line(0).len(),
        changes: 0,
        count: 0,
    })
}

#[cfg(test)]
mod tests {
    use wgctl::name::Incarnation;

    use super::*;
    use crate::desired::tests::{interface, peer, server};

    fn state(peers: u8) -> State {
        State {
            server_id: server(),
            incarnation: Incarnation::random(),
            revision: 7,
            interface: interface(),
            peers: (2..2 + peers).map(peer).map(|peer| (peer.id, peer)).collect(),
        }
    }

    fn adding(state: &mut State, number: u8) -> Delta {
        let delta = Delta {
            revision: state.revision + 1,
            interface: None,
            upsert: vec![peer(number)],
            remove: Vec::new(),
        };
        state.change(delta.clone());
        delta
    }

    #[test]
    fn what_was_written_is_there_after_a_restart_however_often() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load(folder.path()).unwrap().is_none());
        let mut state = state(3);
        let (mut cache, nothing) = Cache::open(folder.path());
        assert!(nothing.unwrap().is_none());
        cache.write(&state, None).unwrap();
        for number in 10..30 {
            let delta = adding(&mut state, number);
            cache.write(&state, Some(&delta)).unwrap();
            assert_eq!(load(folder.path()).unwrap().as_ref(), Some(&state));
            if number % 3 == 0 {
                let (again, loaded) = Cache::open(folder.path());
                assert_eq!(loaded.unwrap().as_ref(), Some(&state));
                cache = again;
            }
        }
    }

    #[test]
    fn a_change_costs_what_changed_and_the_file_does_not_grow_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let length = || std::fs::metadata(folder.path().join(NAME)).unwrap().len();
        let mut state = state(200);
        let (mut cache, _) = Cache::open(folder.path());
        cache.write(&state, None).unwrap();
        let snapshot = length();
        let delta = adding(&mut state, 250);
        cache.write(&state, Some(&delta)).unwrap();
        assert!(length() - snapshot < 500, "{}", length() - snapshot);
        for _ in 0..2000 {
            let delta = adding(&mut state, 251);
            state.peers.remove(&delta.upsert[0].id);
            cache.write(&state, Some(&delta)).unwrap();
            assert!(length() < 4 * snapshot.max(u64::try_from(SMALL).unwrap()));
        }
    }

    #[test]
    fn a_line_that_a_crash_cut_off_is_left_out_and_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let mut state = state(3);
        let (mut cache, _) = Cache::open(folder.path());
        cache.write(&state, None).unwrap();
        let before = state.clone();
        let delta = adding(&mut state, 10);
        cache.write(&state, Some(&delta)).unwrap();
        let mut whole = std::fs::read(&path).unwrap();
        // The crash came before the first line promised the change.
        whole[..format::first_line(0).len()].copy_from_slice(format::first_line(0).as_bytes());
        std::fs::write(&path, &whole[..whole.len() - 7]).unwrap();

        let (mut cache, loaded) = Cache::open(folder.path());
        assert_eq!(loaded.unwrap(), Some(before));
        cache.write(&state, Some(&delta)).unwrap();
        assert_eq!(load(folder.path()).unwrap(), Some(state));
    }

    #[test]
    fn a_cache_that_lost_any_of_its_end_later_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let mut state = state(3);
        let (mut cache, _) = Cache::open(folder.path());
        cache.write(&state, None).unwrap();
        for number in 10..13 {
            let delta = adding(&mut state, number);
            cache.write(&state, Some(&delta)).unwrap();
        }
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            load(folder.path()).unwrap_err();
        }
    }

    #[test]
    fn after_a_write_that_failed_the_next_says_everything() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = state(3);
        let (mut cache, _) = Cache::open(folder.path());
        cache.write(&state, None).unwrap();
        // A device that is always full takes the place of the file.
        cache.end.as_mut().unwrap().file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let lost = adding(&mut state, 10);
        cache.write(&state, Some(&lost)).unwrap_err();
        assert!(cache.is_behind());
        let next = adding(&mut state, 11);
        cache.write(&state, Some(&next)).unwrap();
        assert!(!cache.is_behind());
        assert_eq!(load(folder.path()).unwrap(), Some(state));
    }

    #[test]
    fn a_damaged_cache_is_refused_with_its_name_and_what_happens_now() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME), "").unwrap();
        let message = load(folder.path()).unwrap_err().to_string();
        assert!(message.contains(NAME) && message.contains("left as it is"), "{message}");
    }
}
