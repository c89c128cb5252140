//! The plane's one secret on disk: 32 random bytes in `jwt.key`.
//!
//! Owns making it once, whole and readable by us alone, and reading it. It must not leave the
//! process: tokens are signed and stored answers sealed with keys that come from it.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

const LENGTH: usize = 32;
const FILE: &str = "jwt.key";

/// Why there is no signing key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be made or read.
    #[error("cannot {what} the signing key {path}: {source}")]
    Io {
        /// `read` or `make`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Somebody else could have read it.
    #[error("the signing key {path} is open to other users (mode {mode:o}): chmod 600 it, or remove it if it leaked")]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not what we wrote.
    #[error(
        "the signing key {path} has {length} bytes instead of 32: \
         restore it, or remove it (everyone then logs in again)"
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// How long it is.
        length: usize,
    },
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness: {0}")]
    Random(String),
}

/// The signing key. Wiped when dropped.
pub(crate) struct SigningKey(Zeroizing<[u8; LENGTH]>);

impl SigningKey {
    /// The key in `state_dir`, made when there is none. Only for who holds the state directory:
    /// two that make it at once would not agree.
    pub(crate) fn load_or_make(state_dir: &Path) -> Result<Self, KeyError> {
        let path = state_dir.join(FILE);
        match fs::metadata(&path) {
            Ok(metadata) => {
                let mode = metadata.permissions().mode() & 0o7777;
                if mode & 0o077 != 0 {
                    return Err(KeyError::Open { path, mode });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::make(path),
            Err(source) => return Err(io_error("read", path)(source)),
        }
        let bytes = Zeroizing::new(fs::read(&path).map_err(io_error("read", path.clone()))?);
        match bytes.as_slice().try_into() {
            Ok(key) => Ok(Self(Zeroizing::new(key))),
            Err(_) => Err(KeyError::Length {
                path,
                length: bytes.len(),
            }),
        }
    }

    fn make(path: PathBuf) -> Result<Self, KeyError> {
        let mut key = Zeroizing::new([0; LENGTH]);
        getrandom::fill(key.as_mut_slice()).map_err(|error| KeyError::Random(error.to_string()))?;
        wgctl::file::write_private(&path, key.as_slice()).map_err(io_error("make", path))?;
        Ok(Self(key))
    }

    /// The 32 bytes. Secret.
    pub(crate) fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

fn io_error(what: &'static str, path: PathBuf) -> impl FnOnce(io::Error) -> KeyError {
    move |source| KeyError::Io { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_is_ours_alone() {
        let dir = tempfile::tempdir().unwrap();
        let first = SigningKey::load_or_make(dir.path()).unwrap();
        let second = SigningKey::load_or_make(dir.path()).unwrap();
        assert_eq!(first.as_bytes(), second.as_bytes());
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_cut_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        SigningKey::load_or_make(dir.path()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            SigningKey::load_or_make(dir.path()),
            Err(KeyError::Open { mode: 0o640, .. })
        ));
        fs::write(&path, b"short").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(
            SigningKey::load_or_make(dir.path()),
            Err(KeyError::Length { length: 5, .. })
        ));
    }
}
