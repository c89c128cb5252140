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

use wgctl::ServerId;
use wgctl::program::private_file;

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
    private_file::write_private(path, &content)?;
    Ok(Tail {
        file: OpenOptions::new().write(true).open(path)?,
        chain,
        snapshot: content.len() - format::first_line(0).len(),
        changes: 0,
        count: 0,
    })
}

#[cfg(test)]
mod tests;
