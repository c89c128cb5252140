//! The inputs to an enrolment: the configuration to write, and the token.
//!
//! Owns the rules by which the arguments change an existing configuration. It must not write any file.

use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use url::Url;
use wgctl::program::terminal::ask_hidden;
use wgctl::{Clock, Pin};
use zeroize::Zeroizing;

use super::error::Error;
use crate::config::Config;

/// The arguments for an enrolment.
pub struct Enrollment {
    /// The planes to dial.
    pub planes: Vec<Url>,
    /// The file with the token; `-` for standard input.
    pub token_file: PathBuf,
    /// The file with PEM certificates to trust in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// The planes' public keys.
    pub pin: Vec<Pin>,
    /// Allows connections without TLS to planes on other machines.
    pub allow_plaintext: bool,
    /// The configuration file to write; the token is stored in the same directory.
    pub config: PathBuf,
    /// The directory for secrets and the cache; `None` for the default.
    pub state_dir: Option<PathBuf>,
    /// The wg-quick file of the interface to adopt.
    pub import: Option<PathBuf>,
    /// Only shows what would be done.
    pub dry_run: bool,
    /// The clock that determines which peers have expired.
    pub clock: Clock,
}

/// Returns the configuration to write. Enrolling a host again keeps settings that were added by hand.
pub(super) fn configuration(enrollment: &Enrollment) -> Result<Config, Error> {
    let path = &enrollment.config;
    let mut config = match path.exists() {
        true => Config::read(path, std::iter::empty())?,
        false => Config::new(Vec::new()),
    };
    config.plane.clone_from(&enrollment.planes);
    config.allow_plaintext |= enrollment.allow_plaintext;
    // The arguments take precedence; a pin and an authority are mutually exclusive.
    if !enrollment.pin.is_empty() {
        config.pin.clone_from(&enrollment.pin);
        config.ca_file = None;
    }
    if let Some(file) = &enrollment.ca_file {
        config.ca_file = Some(absolute(file));
        config.pin.clone_from(&enrollment.pin);
    }
    config.token_file = path.with_file_name("agent.token");
    if let Some(folder) = &enrollment.state_dir {
        config.state_dir = absolute(folder);
    }
    config.check()?;
    Ok(config)
}

/// Returns the absolute path, because the agent may be started in another directory.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

pub(super) fn read_token(path: &Path) -> Result<Zeroizing<String>, Error> {
    let mut text = Zeroizing::new(String::new());
    let outcome = match path.to_str() {
        Some("-") if io::stdin().is_terminal() => ask_hidden("The agent's token: ").map(|typed| text = typed),
        Some("-") => io::stdin().read_to_string(&mut text).map(drop),
        _ => std::fs::read_to_string(path).map(|read| *text = read),
    };
    outcome.map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })?;
    let token = Zeroizing::new(text.trim().to_owned());
    if token.is_empty() {
        return Err(Error::NoToken(path.display().to_string()));
    }
    Ok(token)
}
