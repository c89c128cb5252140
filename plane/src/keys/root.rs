//! The plane's root secret on disk: 32 random bytes in `jwt.key`.
//!
//! Owns making it once, whole and readable by us alone, and reading it. It must not leave the
//! process: stored answers are sealed and compared with keys that come from it. It never changes;
//! what signs sessions, and rotates, is `sessions`.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

const LENGTH: usize = 32;
const FILE: &str = "jwt.key";

/// An error of reading or creating the root key.
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
        /// Its length, bytes.
        length: usize,
    },
    /// Not a file that we wrote.
    #[error(
        "the signing keys {path} cannot be used ({reason}): restore them, or remove them (everyone then logs in again)"
    )]
    Broken {
        /// The file.
        path: PathBuf,
        /// The fault.
        reason: String,
    },
    /// Keys were rotated more often than old ones are outlived.
    #[error("too many old signing keys are still good: try again in {retry_after} s")]
    TooMany {
        /// Seconds until one is outlived.
        retry_after: u64,
    },
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness: {0}")]
    Random(String),
}

impl KeyError {
    /// True when somebody has to mend the file: no second try helps.
    pub(crate) const fn is_of_the_file(&self) -> bool {
        matches!(self, Self::Open { .. } | Self::Length { .. } | Self::Broken { .. })
    }
}

/// The root secret. Wiped when dropped.
pub(crate) struct RootKey(Zeroizing<[u8; LENGTH]>);

impl RootKey {
    /// The key in `state_dir`, made when there is none. Only for who holds the state directory:
    /// two that make it at once would not agree.
    pub(crate) fn load_or_make(state_dir: &Path) -> Result<Self, KeyError> {
        let path = state_dir.join(FILE);
        let Some(bytes) = read_private(&path)? else {
            let key = random()?;
            wgctl::program::private_file::write_private(&path, key.as_slice()).map_err(io_error("make", path))?;
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

    /// The 32 bytes. Secret.
    pub(crate) fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

/// The content of a file that nobody else may read; none where there is no file.
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

/// Bytes of the operating system's randomness.
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
    fn it_is_made_once_and_is_ours_alone() {
        let dir = tempfile::tempdir().unwrap();
        let first = RootKey::load_or_make(dir.path()).unwrap();
        let second = RootKey::load_or_make(dir.path()).unwrap();
        assert_eq!(first.as_bytes(), second.as_bytes());
        assert_eq!(first.as_bytes().as_slice(), fs::read(dir.path().join(FILE)).unwrap());
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_cut_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        RootKey::load_or_make(dir.path()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            RootKey::load_or_make(dir.path()),
            Err(KeyError::Open { mode: 0o640, .. })
        ));
        fs::write(&path, b"short").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(
            RootKey::load_or_make(dir.path()),
            Err(KeyError::Length { length: 5, .. })
        ));
    }

    #[test]
    fn a_key_that_cannot_be_looked_for_is_not_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, b"").unwrap();
        assert!(matches!(
            read_private(&file.join(FILE)),
            Err(KeyError::Io { what: "read", .. })
        ));
    }

    #[test]
    fn only_a_file_that_somebody_must_mend_is_said_to_be_one() {
        let path = PathBuf::from(FILE);
        let (open, short) = (path.clone(), path.clone());
        assert!(
            KeyError::Open {
                path: open,
                mode: 0o640
            }
            .is_of_the_file()
        );
        assert!(KeyError::Length { path: short, length: 5 }.is_of_the_file());
        assert!(!io_error("read", path)(io::Error::from(io::ErrorKind::Interrupted)).is_of_the_file());
        assert!(!KeyError::TooMany { retry_after: 1 }.is_of_the_file());
    }
}
