//! The last desired state, cached on disk for a boot during which no plane is reachable.
//!
//! Owns the file and the checks that reject it: a cache that cannot be trusted is an error, and is never treated as
//! "no peers". A change is appended and synced before it is sent to the kernel, so that every confirmed change
//! survives a power failure. From time to time, the whole state is written again. It must not decide how the state
//! is used.

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
/// The total size of changes, in bytes, that may accumulate even if the snapshot is smaller than that.
const SMALL: usize = 64 * 1024;

/// An error that makes the cached state unavailable.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error from the operating system.
        source: io::Error,
    },
    /// The content of the file is damaged.
    #[error(
        "{} is damaged ({reason}): it is not used, and the interface is left as it is until the plane responds",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The fault that shows the damage.
        reason: &'static str,
    },
}

/// Returns whether a cache file exists, regardless of its content.
#[must_use]
pub fn exists(folder: &Path) -> bool {
    folder.join(NAME).exists()
}

/// Returns the cached state; `None` if nothing has ever been cached.
pub fn load(folder: &Path) -> Result<Option<State>, Error> {
    Ok(read(&folder.join(NAME))?.map(|content| content.state))
}

/// Returns the server whose state is cached; `None` if there is no readable cache.
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

/// The cache, open for writing. Only one may be open per directory.
#[derive(Debug)]
pub struct Cache {
    path: PathBuf,
    end: Option<Tail>,
    /// True if the last write failed, so that the file is older than the state.
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
    /// Returns the length of the file, in bytes.
    fn length(&self) -> u64 {
        u64::try_from(format::first_line(0).len() + self.snapshot + self.changes).unwrap_or(u64::MAX)
    }
}

impl Cache {
    /// Opens the cache in a directory and returns it with its state, if any. A file that cannot be trusted remains
    /// until it is replaced.
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
            tracing::warn!(
                "{path}: the last change was truncated by a crash and is ignored; the plane will send it again"
            );
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

    /// Returns whether the last write failed, so that the next one must write the whole state.
    #[must_use]
    pub const fn is_behind(&self) -> bool {
        self.behind
    }

    /// Writes the change that led to `state`, or the whole state if `delta` is `None`. The data is on disk when this
    /// function returns.
    pub fn write(&mut self, state: &State, delta: Option<&Delta>) -> Result<(), Error> {
        // A failed write may have left a partial line, after which no line can be appended. The whole state is then
        // written instead.
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
    // This reaches the disk together with the next change. After a power failure the number may be one too low,
    // but never too high.
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
