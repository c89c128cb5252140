//! Files that must be complete and private: keys, tokens, cached state.
//!
//! Owns the way in which they are written: a temporary file, created with mode 0600, is synced and renamed
//! into place, and then the directory is synced. It must not know what the files contain.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Replaces `path` with `content` atomically.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    Prepared::new(path, content)?.take_place()
}

/// The new content of a file in a temporary file next to it.
#[must_use]
pub struct Prepared {
    temporary: PathBuf,
    path: PathBuf,
}

impl Prepared {
    /// Writes the content to the temporary file. The file at `path` is not changed.
    pub fn new(path: &Path, content: &[u8]) -> io::Result<Self> {
        let temporary = beside(path)?;
        // Removes the remains of an interrupted write.
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let prepared = Self {
            temporary,
            path: path.to_owned(),
        };
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&prepared.temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        Ok(prepared)
    }

    /// Replaces the file at the path.
    pub fn take_place(self) -> io::Result<()> {
        std::fs::rename(&self.temporary, &self.path)?;
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // After a rename, the temporary file no longer exists.
        let _ = std::fs::remove_file(&self.temporary);
    }
}

fn beside(path: &Path) -> io::Result<PathBuf> {
    let folder = path.parent().ok_or_else(|| io::Error::other("no parent directory"))?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    Ok(folder.join(name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn content_that_is_prepared_but_not_used_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        write_private(&path, b"first").unwrap();
        drop(Prepared::new(&path, b"second").unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_is_private_and_replaced_atomically() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(folder.path().join("secret.new"), "left behind").unwrap();
        for content in ["first, and longer", "second"] {
            write_private(&path, content.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing is left behind"
        );
    }
}
