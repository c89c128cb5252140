//! The plane's root secret on disk: 32 random bytes in `jwt.key`.
//!
//! Owns creating the key file (once, atomically, and readable only by its owner) and reading it. The root secret must
//! not leave the process. The keys for sealing stored responses and for recognizing repeated requests are derived from
//! it. The root secret never changes; the keys that sign sessions, which are rotated, are in `sessions`.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

const LENGTH: usize = 32;
pub(super) const FILE: &str = "jwt.key";

/// An error while reading or creating the root key or the session keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("cannot {what} the signing key {path}: {source}")]
    Io {
        /// The operation: `read` or `write`.
        what: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// The error from the operating system.
        source: io::Error,
    },
    /// The file is accessible to other users.
    #[error("the signing key {path} is open to other users (mode {mode:o}): chmod 600 it, or remove it if it leaked")]
    Open {
        /// The path of the file.
        path: PathBuf,
        /// The permission bits of the file.
        mode: u32,
    },
    /// The root key's file has the wrong length.
    #[error(
        "the root key {path} has {length} bytes instead of 32: \
         restore it, or remove it (stored responses to repeated requests are then lost)"
    )]
    Length {
        /// The path of the file.
        path: PathBuf,
        /// The length of the file, in bytes.
        length: usize,
    },
    /// The content of the session keys' file is invalid.
    #[error(
        "the signing keys {path} cannot be used ({reason}): \
         restore them, or remove them (everyone must then log in again)"
    )]
    Broken {
        /// The path of the file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The session keys have been rotated too often: too many old keys have not expired yet.
    #[error("too many old signing keys are still valid: try again in {retry_after} s")]
    TooMany {
        /// The time until the first of them expires, in seconds.
        retry_after: u64,
    },
    /// The operating system provided no random bytes.
    #[error("cannot get random bytes from the operating system: {0}")]
    Random(String),
}

impl KeyError {
    /// Returns whether the file itself must be repaired or removed, so that retrying does not help.
    pub(crate) const fn needs_repair(&self) -> bool {
        matches!(self, Self::Open { .. } | Self::Length { .. } | Self::Broken { .. })
    }
}

/// The root secret. It is wiped from memory when it is dropped.
pub(crate) struct RootKey(Zeroizing<[u8; LENGTH]>);

impl RootKey {
    /// Loads the key from `state_dir`, creating it if it does not exist. The caller must be the only user of the state
    /// directory: two processes that created the key at the same time would have different keys.
    pub(crate) fn load_or_create(state_dir: &Path) -> Result<Self, KeyError> {
        let path = state_dir.join(FILE);
        let Some(bytes) = read_private(&path)? else {
            let key = random()?;
            wgctl::program::private_file::write_private(&path, key.as_slice()).map_err(io_error("write", path))?;
            return Ok(Self(key));
        };
        match bytes.as_slice().try_into() {
            Ok(key) => Ok(Self(Zeroizing::new(key))),
            Err(_) => Err(KeyError::Length {
                path,
                length: bytes.len(),
            }),
        }
    }

    /// Returns the 32 secret bytes.
    pub(crate) fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

/// Returns the content of a file, or `None` if the file does not exist. Refuses a file that other users can access.
pub(super) fn read_private(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, KeyError> {
    match fs::metadata(path) {
        Ok(metadata) => {
            let mode = metadata.permissions().mode() & 0o7777;
            if mode & 0o077 != 0 {
                let path = path.to_owned();
                return Err(KeyError::Open { path, mode });
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io_error("read", path.to_owned())(source)),
    }
    let bytes = fs::read(path).map_err(io_error("read", path.to_owned()))?;
    Ok(Some(Zeroizing::new(bytes)))
}

/// Returns random bytes from the operating system.
pub(super) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, KeyError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|error| KeyError::Random(error.to_string()))?;
    Ok(bytes)
}

pub(super) fn io_error(what: &'static str, path: PathBuf) -> impl FnOnce(io::Error) -> KeyError {
    move |source| KeyError::Io { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_created_once_and_is_accessible_only_to_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let first = RootKey::load_or_create(dir.path()).unwrap();
        let second = RootKey::load_or_create(dir.path()).unwrap();
        assert_eq!(first.as_bytes(), second.as_bytes());
        assert_eq!(first.as_bytes().as_slice(), fs::read(dir.path().join(FILE)).unwrap());
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_is_accessible_to_other_users_or_truncated_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        RootKey::load_or_create(dir.path()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            RootKey::load_or_create(dir.path()),
            Err(KeyError::Open { mode: 0o640, .. })
        ));
        fs::write(&path, b"short").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(
            RootKey::load_or_create(dir.path()),
            Err(KeyError::Length { length: 5, .. })
        ));
    }

    #[test]
    fn no_new_key_is_created_if_checking_for_the_existing_one_fails() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, b"").unwrap();
        assert!(matches!(
            read_private(&file.join(FILE)),
            Err(KeyError::Io { what: "read", .. })
        ));
    }

    #[test]
    fn only_errors_that_a_retry_cannot_fix_are_reported_as_needing_repair() {
        let path = PathBuf::from(FILE);
        let (open, short) = (path.clone(), path.clone());
        assert!(
            KeyError::Open {
                path: open,
                mode: 0o640
            }
            .needs_repair()
        );
        assert!(KeyError::Length { path: short, length: 5 }.needs_repair());
        assert!(!io_error("read", path)(io::Error::from(io::ErrorKind::Interrupted)).needs_repair());
        assert!(!KeyError::TooMany { retry_after: 1 }.needs_repair());
    }
}
