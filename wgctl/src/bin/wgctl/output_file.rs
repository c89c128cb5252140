//! Files with private content.
//!
//! Owns their creation: only the owner can read them from the moment they exist, and they are renamed into place only
//! once they are complete. It must not know what they contain.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Writes `content` to `path` with mode 0600, replacing an existing file atomically.
pub(crate) fn write_secret(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let mut draft = Draft::create(path)?;
    draft.write(content)?;
    draft.finish()
}

/// A file that is renamed into place when it is finished. If it is dropped earlier, nothing is left behind.
pub(crate) struct Draft {
    file: File,
    path: PathBuf,
    /// `None` for a target that is written in place (a pipe, a terminal), because a rename would replace it.
    draft: Option<PathBuf>,
}

impl Draft {
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let opened = if path.metadata().is_ok_and(|present| !present.is_file()) {
            OpenOptions::new().write(true).open(path).map(|file| (file, None))
        } else {
            create_beside(path).map(|(file, draft)| (file, Some(draft)))
        };
        let (file, draft) = opened.map_err(|error| Failure::file("write", path, &error))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            draft,
        })
    }

    pub(crate) fn write(&mut self, content: &[u8]) -> Result<(), Failure> {
        self.file
            .write_all(content)
            .map_err(|error| Failure::file("write", &self.path, &error))
    }

    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        let Some(draft) = &self.draft else { return Ok(()) };
        let named = self.file.sync_all().and_then(|()| std::fs::rename(draft, &self.path));
        named.map_err(|error| Failure::file("write", &self.path, &error))?;
        self.draft = None;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(draft) = &self.draft {
            // An error is ignored: the earlier failure is the one that is reported.
            let _ = std::fs::remove_file(draft);
        }
    }
}

/// Creates a new file in the same directory, under an unused name.
fn create_beside(path: &Path) -> io::Result<(File, PathBuf)> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::other("this is not a file name"))?;
    let draft = path.with_file_name(format!(".{}.{}", name.to_string_lossy(), uuid::Uuid::new_v4().simple()));
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    Ok((file, draft))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_file_is_private_even_if_it_replaces_a_readable_one() {
        let folder = std::env::temp_dir().join(format!("wgctl-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("secret");
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        write_secret(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        drop(Draft::create(&path).unwrap());
        assert_eq!(
            std::fs::read(&path).unwrap(),
            b"new",
            "an unfinished draft changes nothing"
        );
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "no draft is left");
        assert!(write_secret(&folder.join("absent/secret"), b"x").is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
