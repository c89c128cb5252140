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
use crate::config::{Config, parse_token};

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

/// Reads the token from a file or, for `-`, from the terminal or the standard input.
pub(super) fn read_token(path: &Path) -> Result<Zeroizing<String>, Error> {
    let mut content = Zeroizing::new(Vec::<u8>::new());
    let outcome = match path.to_str() {
        Some("-") if io::stdin().is_terminal() => {
            ask_hidden("The agent's token: ").map(|typed| content.extend_from_slice(typed.as_bytes()))
        }
        Some("-") => io::stdin().read_to_end(&mut content).map(drop),
        _ => std::fs::read(path).map(|read| *content = read),
    };
    outcome.map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })?;
    parse_token(&content).map_err(|fault| Error::NotAToken {
        origin: match path.to_str() {
            Some("-") => "the standard input".to_owned(),
            _ => path.display().to_string(),
        },
        fault,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_read_in_the_form_in_which_the_agent_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("given");
        std::fs::write(&path, "\u{feff}szagent_secret\r\n").unwrap();
        assert_eq!(read_token(&path).unwrap().as_str(), "szagent_secret");
        for (content, fault) in [
            (&b"\n"[..], "given is empty"),
            (b"'szagent_secret'", "given contains quotation marks"),
            (b"szagent_secret\n# secret\n", "given contains 3 words"),
            (b"szapi_secret", "an API token (szapi_"),
            (b"\xffsecret", "given is not plain text"),
        ] {
            std::fs::write(&path, content).unwrap();
            let error = read_token(&path).unwrap_err().to_string();
            assert!(
                error.starts_with("--token-file: ") && error.contains(fault) && error.contains("`wgctl server add`"),
                "{error}"
            );
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
