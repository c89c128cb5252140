//! The database file and its copies: creating, opening and replacing them.
//!
//! Owns the files (private, and replaced as a whole) and the verification of a database before its content is trusted.
//! It must not know what is in a database. [`Medium`] abstracts the disk. The tests have a second implementation,
//! because a real disk cannot be made to fail at any chosen operation.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, StorageError};

use crate::store::error::StoreError;

/// The number of bytes that are copied at a time.
const CHUNK: usize = 1 << 20;

/// The file operations that the store needs.
pub(in crate::store) trait Medium: Send + Sync {
    /// Returns whether there is a file at `path`, or a symbolic link, even one to a file that does not exist.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Creates a file that only its owner can read, and a database in it. The file must not exist yet.
    fn create(&self, builder: &Builder, path: &Path) -> Result<Database, DatabaseError>;
    /// Opens the database in a file.
    fn open(&self, builder: &Builder, path: &Path) -> Result<Database, DatabaseError>;
    /// Removes a file if it exists.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Renames a file durably, replacing `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Returns the free space on the disk that holds a file, in bytes.
    fn room(&self, path: &Path) -> io::Result<u64>;
    /// Reads the content of a file and writes it to the disk again.
    fn rewrite(&self, path: &Path) -> io::Result<()>;
}

/// The host's file systems.
pub(in crate::store) struct Files;

impl Medium for Files {
    fn exists(&self, path: &Path) -> io::Result<bool> {
        match fs::symlink_metadata(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn create(&self, builder: &Builder, path: &Path) -> Result<Database, DatabaseError> {
        // The file is private because it contains password hashes.
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options
            .open(path)
            .map_err(|error| DatabaseError::Storage(StorageError::Io(error)))?;
        builder.create_with_backend(FileBackend::new(file)?)
    }

    fn open(&self, builder: &Builder, path: &Path) -> Result<Database, DatabaseError> {
        builder.open(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)?;
        let folder = to.parent().unwrap_or_else(|| Path::new("."));
        File::open(folder)?.sync_all()
    }

    fn room(&self, path: &Path) -> io::Result<u64> {
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        let disk = nix::sys::statvfs::statvfs(folder)?;
        Ok(disk.blocks_available().saturating_mul(disk.fragment_size()))
    }

    /// Leaves holes as they are, because filling them would need space that a full disk does not have.
    fn rewrite(&self, path: &Path) -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut buffer = vec![0; CHUNK];
        let mut end = 0;
        while let Some((begin, hole)) = next_data(&file, end)? {
            let mut at = begin;
            while at < hole {
                let length = usize::try_from(hole - at).unwrap_or(CHUNK).min(CHUNK);
                let chunk = buffer.get_mut(..length).unwrap_or_default();
                file.read_exact_at(chunk, at)?;
                file.write_all_at(chunk, at)?;
                at += length as u64;
            }
            end = hole;
        }
        file.sync_all()
    }
}

/// Returns the beginning and the end of the next part of a file, at or after `from`, that is not a hole.
fn next_data(file: &File, from: u64) -> io::Result<Option<(u64, u64)>> {
    let offset = |at: u64| i64::try_from(at).map_err(io::Error::other);
    let begin = match lseek(file, offset(from)?, Whence::SeekData) {
        Err(Errno::ENXIO) => return Ok(None),
        found => found?,
    };
    let end = lseek(file, begin, Whence::SeekHole)?;
    let offset = |at: i64| u64::try_from(at).map_err(io::Error::other);
    Ok(Some((offset(begin)?, offset(end)?)))
}

/// Opens a database and verifies all its pages.
pub(in crate::store) fn open(medium: &dyn Medium, path: &Path, cache_bytes: usize) -> Result<Database, StoreError> {
    open_with(path, cache_bytes, |builder| medium.open(builder, path))
}

/// Creates an empty database, replacing any file that an interrupted attempt left behind.
pub(super) fn create(medium: &dyn Medium, path: &Path, cache_bytes: usize) -> Result<Database, StoreError> {
    open_with(path, cache_bytes, |builder| {
        medium
            .remove(path)
            .map_err(|error| DatabaseError::Storage(StorageError::Io(error)))?;
        medium.create(builder, path)
    })
}

fn open_with(
    path: &Path,
    cache_bytes: usize,
    open: impl FnOnce(&Builder) -> Result<Database, DatabaseError>,
) -> Result<Database, StoreError> {
    let mut builder = Builder::new();
    builder.set_cache_size(cache_bytes);
    // redb verifies checksums only when it opens a database, and trusts everything that it reads later. Without this
    // check, a flipped bit would be returned as if it had been written.
    builder.set_check_integrity_on_open(true);
    let (path_of_damaged, path_of_refused) = (path.to_owned(), path.to_owned());
    let damaged = |reason| StoreError::Damaged {
        path: path_of_damaged,
        reason,
    };
    let refused = |reason| StoreError::Open {
        path: path_of_refused,
        reason,
    };
    match catch_unwind(AssertUnwindSafe(|| open(&builder))) {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(DatabaseError::DatabaseAlreadyOpen)) => Err(StoreError::Locked(path.to_owned())),
        Ok(Err(DatabaseError::UpgradeRequired(format))) => {
            Err(damaged(format!("its file format is {format}, which no release uses")))
        }
        Ok(Err(DatabaseError::Storage(StorageError::Corrupted(reason)))) => Err(damaged(reason)),
        Ok(Err(DatabaseError::Storage(StorageError::Io(error)))) if is_cut_short(&error) => {
            Err(damaged(error.to_string()))
        }
        Ok(Err(DatabaseError::Storage(StorageError::Io(error)))) if is_full(&error) => {
            Err(refused(format!("{error}: make room on the disk")))
        }
        Ok(Err(DatabaseError::Storage(StorageError::Io(error)))) if error.kind() == io::ErrorKind::NotFound => {
            Err(refused(format!(
                "{error}: check that its directory exists and, if it is a symbolic link, that its target is mounted"
            )))
        }
        Ok(Err(other)) => Err(refused(format!("{other}: check the file, its directory and owner"))),
        Err(_) => Err(damaged("it cannot be read".to_owned())),
    }
}

/// Returns whether an error means that the disk is full, or that the plane's user has used up a quota.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Returns whether redb's error means that the file is too short or is not a database.
fn is_cut_short(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}
