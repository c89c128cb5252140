//! The key that signs the audit log's checkpoints: 32 random bytes in `audit.key`.
//!
//! Owns creating the key file (once, atomically, and readable only by its owner) and reading it. The secret key must
//! not leave the process; the public key is not secret.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use wgctl::audit::{KeyRefused, Signer};
use zeroize::Zeroizing;

const LENGTH: usize = 32;
pub(super) const FILE: &str = "audit.key";

/// An error while reading or creating the audit log's key.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// The file cannot be read or written.
    #[error("cannot {what} the audit log's key {path}: {source}")]
    Io {
        /// The operation: `read` or `write`.
        what: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// The error from the operating system.
        source: io::Error,
    },
    /// The file is accessible to other users.
    #[error(
        "the audit log's key {path} is open to other users (mode {mode:o}): chmod 600 it, or remove it if it leaked \
         (the log then records that the key has changed)"
    )]
    Open {
        /// The path of the file.
        path: PathBuf,
        /// The permission bits of the file.
        mode: u32,
    },
    /// The file has the wrong length.
    #[error(
        "the audit log's key {path} has {length} bytes instead of 32: \
         restore it, or remove it (the log then records that the key has changed)"
    )]
    Length {
        /// The path of the file.
        path: PathBuf,
        /// The length of the file, in bytes.
        length: usize,
    },
    /// The operating system provided no random bytes.
    #[error("cannot get random bytes from the operating system: {0}")]
    Random(String),
    /// The bytes in the file are not a valid key.
    #[error(transparent)]
    Refused(#[from] KeyRefused),
}

impl SignerError {
    /// Returns whether the file itself must be repaired or removed, so that retrying does not help.
    pub(crate) const fn needs_repair(&self) -> bool {
        matches!(self, Self::Open { .. } | Self::Length { .. } | Self::Refused(_))
    }
}

/// Loads the key from `state_dir`, creating it if it does not exist. The caller must be the only user of the state
/// directory: two processes that created the key at the same time would have different keys.
pub(crate) fn load_or_create(state_dir: &Path) -> Result<Signer, SignerError> {
    let path = state_dir.join(FILE);
    match fs::metadata(&path) {
        Ok(metadata) => {
            let mode = metadata.permissions().mode() & 0o7777;
            if mode & 0o077 != 0 {
                return Err(SignerError::Open { path, mode });
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return make(path),
        Err(source) => return Err(io_error("read", path)(source)),
    }
    let bytes = Zeroizing::new(fs::read(&path).map_err(io_error("read", path.clone()))?);
    let seed: &[u8; LENGTH] = bytes.as_slice().try_into().map_err(|_| SignerError::Length {
        path,
        length: bytes.len(),
    })?;
    Ok(Signer::from_seed(seed)?)
}

fn make(path: PathBuf) -> Result<Signer, SignerError> {
    let mut seed = Zeroizing::new([0; LENGTH]);
    getrandom::fill(seed.as_mut_slice()).map_err(|error| SignerError::Random(error.to_string()))?;
    wgctl::program::private_file::write_private(&path, seed.as_slice()).map_err(io_error("write", path))?;
    Ok(Signer::from_seed(&seed)?)
}

fn io_error(what: &'static str, path: PathBuf) -> impl FnOnce(io::Error) -> SignerError {
    move |source| SignerError::Io { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_created_once_and_is_accessible_only_to_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let first = load_or_create(dir.path()).unwrap();
        let second = load_or_create(dir.path()).unwrap();
        assert_eq!(first.public_key(), second.public_key());
        let path = dir.path().join(FILE);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            load_or_create(dir.path()),
            Err(SignerError::Open { mode: 0o644, .. })
        ));
        fs::write(&path, b"short").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(
            load_or_create(dir.path()),
            Err(SignerError::Length { length: 5, .. })
        ));
    }

    #[test]
    fn only_a_faulty_file_needs_repair() {
        let path = || PathBuf::from("audit.key");
        for faulty in [
            SignerError::Open {
                path: path(),
                mode: 0o644,
            },
            SignerError::Length {
                path: path(),
                length: 5,
            },
        ] {
            assert!(faulty.needs_repair(), "{faulty}");
        }
        for passing in [
            io_error("read", path())(io::Error::from(io::ErrorKind::Interrupted)),
            SignerError::Random("none".to_owned()),
        ] {
            assert!(!passing.needs_repair(), "{passing}");
        }
    }
}
