//! The state directory: private, and used by one agent at a time.
//!
//! Owns the creation of the directory, its lock, and the mark of a released host. It must not write the other
//! files: their owners do so through `wgctl::program::private_file`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use wgctl::program::private_file;

/// The file that marks a released host. No agent may run until the host is enrolled again.
const RELEASED: &str = "released";

/// Creates a directory and its missing parents, accessible only to their owner.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Locks a directory for this process until the file is dropped; returns `None` if another process holds the
/// lock.
pub(crate) fn lock(folder: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        // Root opens this file too, in a directory that belongs to the agent's user, who may have placed a link there.
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
        .open(folder.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Returns whether the host has been released and not enrolled again.
pub(crate) fn is_released(folder: &Path) -> bool {
    folder.join(RELEASED).exists()
}

/// Marks the host as released.
pub(crate) fn mark_released(folder: &Path) -> io::Result<()> {
    private_file::write_private(&folder.join(RELEASED), b"`sentrazone-agent enroll` removes this\n")
}

/// Removes the mark of a released host.
pub(crate) fn unmark_released(folder: &Path) -> io::Result<()> {
    match std::fs::remove_file(folder.join(RELEASED)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => File::open(folder)?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_mark_remains_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        unmark_released(folder.path()).unwrap();
        assert!(!is_released(folder.path()));
        mark_released(folder.path()).unwrap();
        mark_released(folder.path()).unwrap();
        assert!(is_released(folder.path()));
        unmark_released(folder.path()).unwrap();
        assert!(!is_released(folder.path()));
    }

    #[test]
    fn a_directory_is_locked_by_one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock(folder.path()).unwrap().unwrap();
        assert!(lock(folder.path()).unwrap().is_none());
        drop(held);
        assert!(lock(folder.path()).unwrap().is_some());
    }
}
