//! The errors of this program.

use std::io;
use std::path::{Path, PathBuf};

/// An error while generating the packages' files.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// cargo failed.
    #[error("`cargo {command}` failed: {reason}")]
    Cargo {
        /// The arguments.
        command: String,
        /// The error output.
        reason: String,
    },
    /// Invalid JSON.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A linked crate that is missing from cargo's metadata.
    #[error("{0} is linked, but cargo's metadata does not list it")]
    Unknown(String),
    /// A crate without a licence.
    #[error("{0} has no licence in its metadata")]
    NoLicence(String),
    /// An invalid date.
    #[error("SOURCE_DATE_EPOCH: {0}")]
    Date(#[from] jiff::Error),
}

impl Failure {
    /// Returns a function that converts an I/O error on this file.
    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}
