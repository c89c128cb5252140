//! The address of a plane: a URL, or the socket on its own machine.

use std::path::PathBuf;

use url::Url;

/// Where a plane is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Over TCP, `http` or `https`.
    Url(Url),
    /// The unix socket on the plane's own machine; the caller's uid is the identity.
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
