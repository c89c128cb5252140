//! The means of authenticating a plane: certificates to trust, or the pin of its key.
//!
//! Owns their conversion into the library's `Trust`. It must not decide which one is used.

use std::path::{Path, PathBuf};

use wgctl::Pin;
use wgctl::client::Trust;

use crate::failure::Failure;

/// The means of authenticating the plane: one of the two, or neither.
#[derive(Clone, Default)]
pub(crate) struct TrustAnchor {
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) pin: Option<Pin>,
}

impl TrustAnchor {
    /// Returns this anchor, or `other` if this one is empty.
    pub(crate) fn or(self, other: Self) -> Self {
        match self {
            Self {
                ca_file: None,
                pin: None,
            } => other,
            given => given,
        }
    }

    /// Reads the certificates and returns the library's `Trust`.
    pub(crate) fn trust(&self) -> Result<Trust, Failure> {
        if let Some(pin) = self.pin {
            return Ok(Trust::Pins(vec![pin]));
        }
        let read = |path: &Path| std::fs::read(path).map_err(|error| Failure::file("read", path, &error));
        Ok(Trust::Authorities(self.ca_file.as_deref().map(read).transpose()?))
    }
}
