//! The key that signs the audit log's checkpoints: 32 random bytes in `audit.key`.
//!
//! Owns making it once, whole and readable by us alone, and reading it. It must not leave the
//! process; its public half is for everybody.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use wgctl::audit::{KeyRefused, Signer};
use zeroize::Zeroizing;

const LENGTH: usize = 32;
const FILE: &str = "audit.key";

/// An error of reading or creating the audit log's key.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// The file cannot be made or read.
    #[error("cannot {what} the audit log's key {path}: {source}")]
    Io {
        /// `read` or `make`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Somebody else could have read it.
    #[error(
        "the audit log's key {path} is open to other users (mode {mode:o}): chmod 600 it, or remove it if it leaked \
         (the log says then that the key changed)"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not what we wrote.
    #[error(
        "the audit log's key {path} has {length} bytes instead of 32: restore it, or remove it (the log says then that \
         the key changed)"
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length, bytes.
        length: usize,
    },
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness: {0}")]
    Random(String),
    /// The bytes make no key.
    #[error(transparent)]
    Refused(#[from] KeyRefused),
}

impl SignerError {
    /// True when somebody has to mend the file: no second try helps.
    pub(crate) const fn is_of_the_file(&self) -> bool {
        matches!(self, Self::Open { .. } | Self::Length { .. } | Self::Refused(_))
    }
}

/// The key in `state_dir`, made when there is none. Only for who holds the state directory: two that
/// make it at once would not agree.
pub(crate) fn load_or_make(state_dir: &Path) -> Result<Signer, SignerError> {
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
    wgctl::program::private_file::write_private(&path, seed.as_slice()).map_err(io_error("make", path))?;
    Ok(Signer::from_seed(&seed)?)
}

fn io_error(what: &'static str, path: PathBuf) -> impl FnOnce(io::Error) -> SignerError {
    move |source| SignerError::Io { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_is_ours_alone() {
        let dir = tempfile::tempdir().unwrap();
        let first = load_or_make(dir.path()).unwrap();
        let second = load_or_make(dir.path()).unwrap();
        assert_eq!(first.public_key(), second.public_key());
        let path = dir.path().join(FILE);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            load_or_make(dir.path()),
            Err(SignerError::Open { mode: 0o644, .. })
        ));
        fs::write(&path, b"short").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(
            load_or_make(dir.path()),
            Err(SignerError::Length { length: 5, .. })
        ));
    }
}
