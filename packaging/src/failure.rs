//! Why something could not be made.

use std::io;
use std::path::{Path, PathBuf};

/// Why something could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// cargo did not do what it was asked.
    #[error("`cargo {command}` failed: {reason}")]
    Cargo {
        /// Its arguments.
        command: String,
        /// What it said.
        reason: String,
    },
    /// Something is not the JSON it should be.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A crate that is linked, of which cargo says nothing.
    #[error("{0} is linked, and cargo does not know it")]
    Unknown(String),
    /// A crate without a licence.
    #[error("{0} does not say under which licence it is")]
    NoLicence(String),
    /// The date.
    #[error("SOURCE_DATE_EPOCH: {0}")]
    Date(#[from] jiff::Error),
}

impl Failure {
    /// What went wrong with a file.
    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}
