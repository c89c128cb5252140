//! The plane's own certificate, for planes that no certificate authority vouches for.
//!
//! Owns two files in the state directory. `tls.key` is created only once, because clients pin it, and has private
//! permissions from the start. `tls.pem` is created again when its names change.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use wgctl::program::private_file::write_private;
use zeroize::Zeroizing;

use super::{TlsError, files};

/// The prefix of the line that records the names in the certificate. The line precedes the certificate itself, where
/// PEM allows text (RFC 7468, section 2).
const NAMES: &str = "names: ";

/// Returns the path of the certificate.
pub(super) fn certificate(state_dir: &Path) -> PathBuf {
    state_dir.join("tls.pem")
}

/// Reads the certificate if it has been created.
pub(super) fn read(state_dir: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let path = certificate(state_dir);
    match files::read_chain(&path) {
        Err(TlsError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Err(TlsError::NotYet(path)),
        Err(TlsError::File { path, source }) if source.kind() == io::ErrorKind::PermissionDenied => {
            let reason = "only root and the plane's user may read it: use sudo".to_owned();
            Err(TlsError::Content { path, reason })
        }
        read => read,
    }
}

/// Returns the names for the certificate: this machine, the listen addresses, and `more`.
pub(super) fn names(listen: &[SocketAddr], more: &[String]) -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    let addresses = listen.iter().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified());
    for name in addresses.map(|ip| ip.to_string()).chain(more.iter().cloned()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Loads the certificate and its key. Creates the key if it is missing, and the certificate if it is missing, damaged
/// or issued for other names.
pub(super) fn load_or_create(state_dir: &Path, names: &[String]) -> Result<CertifiedKey, TlsError> {
    let (cert, key) = (certificate(state_dir), state_dir.join("tls.key"));
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::File { path, source }
    };
    if !key.try_exists().map_err(failed(&key))? {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let text = Zeroizing::new(pair.serialize_pem());
        write_private(&key, text.as_bytes()).map_err(failed(&key))?;
    }
    let head = format!("{NAMES}{}\n", names.join(" "));
    let is_current = match fs::read_to_string(&cert) {
        Ok(text) => text.starts_with(&head) && files::read(&cert, &key).is_ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(failed(&cert)(error)),
    };
    if !is_current {
        let text = Zeroizing::new(fs::read_to_string(&key).map_err(failed(&key))?);
        let pair = KeyPair::from_pem(&text).map_err(|error| TlsError::Content {
            path: key.clone(),
            reason: format!("not a private key ({error}): restore it, because agents and people have pinned it"),
        })?;
        let made = format!("{head}{}", make(&pair, names)?);
        write_private(&cert, made.as_bytes()).map_err(failed(&cert))?;
    }
    files::read(&cert, &key)
}

fn make(pair: &KeyPair, names: &[String]) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "Sentrazone control plane");
    // Clients check the pin. A wrong clock, or years without maintenance, must not lock anybody out, so the
    // certificate's expiry is the date that stands for "no expiration" (RFC 5280, section 4.1.2.5).
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params.self_signed(pair)?.pem())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::pin;
    use super::*;

    #[test]
    fn the_key_is_private_and_is_kept_when_the_names_change() {
        let folder = tempfile::tempdir().unwrap();
        let names = |more: &str| names(&["0.0.0.0:8443".parse().unwrap()], &[more.to_owned()]);
        let first = load_or_create(folder.path(), &names("plane.example.com")).unwrap();
        let mode = fs::metadata(folder.path().join("tls.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = load_or_create(folder.path(), &names("plane.example.com")).unwrap();
        assert_eq!(again.cert, first.cert, "an unchanged certificate is kept");
        let other = load_or_create(folder.path(), &names("192.0.2.1")).unwrap();
        assert_ne!(other.cert, first.cert);
        assert_eq!(pin(&other).unwrap(), pin(&first).unwrap());
    }

    #[test]
    fn a_damaged_certificate_is_created_again_but_a_damaged_key_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let names = names(&[], &[]);
        let first = load_or_create(folder.path(), &names).unwrap();
        fs::write(certificate(folder.path()), "").unwrap();
        let again = load_or_create(folder.path(), &names).unwrap();
        assert_eq!(pin(&again).unwrap(), pin(&first).unwrap());
        fs::write(folder.path().join("tls.key"), "").unwrap();
        let error = load_or_create(folder.path(), &names).err().unwrap().to_string();
        assert!(error.contains("tls.key"), "{error}");
    }

    #[test]
    fn a_certificate_covers_the_listen_addresses() {
        let listen = ["[::]:1", "192.0.2.1:1", "127.0.0.1:2"].map(|address| address.parse().unwrap());
        assert_eq!(
            names(&listen, &["x".to_owned()]),
            ["localhost", "127.0.0.1", "::1", "192.0.2.1", "x"]
        );
    }
}
