//! Certificates and keys in PEM files, and the detection of changes to the files.
//!
//! Owns the checks on the files, and the decision when to read a change. The certificate and the key are replaced one
//! after the other, so changed files are read only when two consecutive checks have found them in the same state.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::TlsError;

/// The time between two checks of the files.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// The two files, and their stamps when they were read and when they were last checked.
pub(super) struct Files {
    cert: PathBuf,
    key: PathBuf,
    read: FileStamps,
    last: FileStamps,
}

impl Files {
    /// Reads the files for the first time.
    pub(super) fn open(cert: &Path, key: &Path) -> Result<(CertifiedKey, Self), TlsError> {
        // The stamps are taken first, so that the next check sees a change during the read.
        let stamp = FileStamps::of(cert, key);
        let certified = read(cert, key)?;
        let files = Self {
            cert: cert.to_owned(),
            key: key.to_owned(),
            read: stamp.clone(),
            last: stamp,
        };
        Ok((certified, files))
    }

    /// Reads the files again if they have changed since they were read and have settled, or if `asked` is true.
    pub(super) fn look(&mut self, asked: bool) -> Option<Result<CertifiedKey, TlsError>> {
        let now = FileStamps::of(&self.cert, &self.key);
        let settled = now == self.last;
        self.last = now.clone();
        if !asked && (now == self.read || !settled) {
            return None;
        }
        self.read = now;
        Some(read(&self.cert, &self.key))
    }
}

/// The stamps of the two files. A file's stamp changes when the file changes.
#[derive(Clone, PartialEq, Eq)]
struct FileStamps([Option<FileStamp>; 2]);

/// The device, the inode, the length, and the modification time in seconds and nanoseconds.
type FileStamp = (u64, u64, u64, i64, i64);

impl FileStamps {
    fn of(cert: &Path, key: &Path) -> Self {
        let stamp = |found: Metadata| (found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec());
        // Symbolic links are followed, because renewing a certificate may replace only a link.
        Self([cert, key].map(|path| fs::metadata(path).ok().map(stamp)))
    }
}

/// Reads the certificate and the key, which must belong together.
pub(super) fn read(cert: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let chain = read_chain(cert)?;
    let key_der = read_key(key)?;
    let certified = CertifiedKey::from_der(chain, key_der, &aws_lc_rs::default_provider());
    certified.map_err(|error| TlsError::Content {
        path: cert.to_owned(),
        reason: match error {
            rustls::Error::InconsistentKeys(_) => {
                format!("the key in {} does not match this certificate", key.display())
            }
            other => other.to_string(),
        },
    })
}

/// Reads the certificates in a file. The first one is the plane's own certificate.
pub(super) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = fs::read(path).map_err(|source| TlsError::File {
        path: path.to_owned(),
        source,
    })?;
    let wrong = |reason: String| TlsError::Content {
        path: path.to_owned(),
        reason,
    };
    let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| wrong(format!("not a PEM certificate: {error}")))?;
    match chain.is_empty() {
        true => Err(wrong("the file contains no PEM certificate".to_owned())),
        false => Ok(chain),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let failed = |source| TlsError::File {
        path: path.to_owned(),
        source,
    };
    let mode = fs::metadata(path).map_err(failed)?.mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(TlsError::Open {
            path: path.to_owned(),
            mode,
        });
    }
    let text = Zeroizing::new(fs::read(path).map_err(failed)?);
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| TlsError::Content {
        path: path.to_owned(),
        reason: format!("not a PEM private key, or protected by a password: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Creates a certificate and its key in `folder`.
    fn pair(folder: &Path) -> (PathBuf, PathBuf) {
        fs::create_dir_all(folder).unwrap();
        super::super::own::load_or_create(folder, &["localhost".to_owned()]).unwrap();
        (folder.join("tls.pem"), folder.join("tls.key"))
    }

    #[test]
    fn changed_files_are_read_once_they_have_settled() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = pair(&folder.path().join("shown"));
        let (_, mut files) = Files::open(&cert, &key).unwrap();
        assert!(files.look(false).is_none(), "nothing has changed");
        let (new_cert, new_key) = pair(&folder.path().join("new"));
        fs::rename(new_cert, &cert).unwrap();
        assert!(files.look(false).is_none(), "the key may not have been replaced yet");
        fs::rename(new_key, &key).unwrap();
        assert!(files.look(false).is_none());
        assert!(files.look(false).unwrap().is_ok());
        assert!(files.look(false).is_none(), "the change has been read");
        assert!(files.look(true).unwrap().is_ok(), "the files are read on request");
    }

    #[test]
    fn an_unusable_file_is_named_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = pair(&folder.path().join("one"));
        let (other, _) = pair(&folder.path().join("other"));
        let said = |cert: &Path, key: &Path| read(cert, key).err().unwrap().to_string();
        assert!(said(&other, &key).contains("does not match this certificate"));
        assert!(said(&key, &key).contains("no PEM certificate"));
        assert!(said(&cert, &cert).contains("not a PEM private key"));
        assert!(said(Path::new("/nonexistent"), &key).contains("/nonexistent"));
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(said(&cert, &key).contains("chmod 640"));
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read(&cert, &key).is_ok());
    }
}
