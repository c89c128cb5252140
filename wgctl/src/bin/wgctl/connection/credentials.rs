//! The login that is stored between commands.
//!
//! Owns `~/.config/wgctl/login.json`: its path, format and mode (0600 in a 0700 directory). It must not
//! decide when the login is used; `connection` does so.

use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;
use wgctl::{Pin, Timestamp};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::connection::trust_anchor::TrustAnchor;
use crate::failure::Failure;
use crate::output_file::write_secret;

/// A login. The token is secret, so there is no `Debug`.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Credentials {
    #[zeroize(skip)]
    pub(crate) url: Url,
    pub(crate) token: String,
    #[zeroize(skip)]
    pub(crate) expires_at: Timestamp,
    /// A file of certificates to trust in addition to the system's.
    #[zeroize(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<PathBuf>,
    /// The pin of the plane's key.
    #[zeroize(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pin: Option<Pin>,
}

impl Credentials {
    /// Returns the trust anchor with which the login was made.
    pub(crate) fn anchor(&self) -> TrustAnchor {
        TrustAnchor {
            ca_file: self.ca_file.clone(),
            pin: self.pin,
        }
    }
}

/// Returns the path of the stored login.
pub(crate) fn path() -> Result<PathBuf, Failure> {
    let folder = dirs::config_dir()
        .ok_or_else(|| Failure::Local("no home directory for the login: set HOME or XDG_CONFIG_HOME".to_owned()))?;
    Ok(folder.join("wgctl").join("login.json"))
}

/// Loads the stored login; returns `None` if there is none.
pub(crate) fn load(path: &Path) -> Result<Option<Credentials>, Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::file("read", path, &error)),
    };
    let mode = path
        .metadata()
        .map_err(|error| Failure::file("read", path, &error))?
        .mode();
    if mode & 0o077 != 0 {
        let shown = path.display();
        return Err(Failure::Local(format!(
            "other users can read the token in {shown}: chmod 600 {shown}, or log in again with `wgctl login URL`"
        )));
    }
    // The parser's message could quote the token.
    let unreadable = |_| {
        Failure::Local(format!(
            "{} is not a wgctl login: remove it and log in again with `wgctl login URL`",
            path.display()
        ))
    };
    serde_json::from_str(&text).map(Some).map_err(unreadable)
}

/// Stores the login.
pub(crate) fn store(path: &Path, credentials: &Credentials) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| Failure::file("create", folder, &error))?;
    }
    let text = serde_json::to_string_pretty(credentials)
        .map(Zeroizing::new)
        .map_err(|error| Failure::Local(format!("cannot write the login as JSON: {error}")))?;
    write_secret(path, text.as_bytes())
}

/// Removes the stored login.
pub(crate) fn remove(path: &Path) -> Result<(), Failure> {
    std::fs::remove_file(path).map_err(|error| Failure::file("remove", path, &error))
}
