//! The address of a plane: a URL, or a socket on the plane's machine.

use std::path::PathBuf;

use url::Url;

/// The address of a plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A URL with the scheme `http` or `https`, over TCP.
    Url(Url),
    /// The unix socket on the plane's machine. The caller is identified by its uid.
    Socket(PathBuf),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url.as_str().trim_end_matches('/')),
            Self::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}
