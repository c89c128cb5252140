//! The planes to dial: one at a time, switching to the next when one fails.
//!
//! Owns the HTTP clients with the agent's token, and the choice of the plane to dial next. It must not decide
//! which requests are sent.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use wgctl::client::{Error, PlaneClient, Target};
use zeroize::Zeroizing;

use super::backoff::{Backoff, Jitter};
use crate::config::{self, Config, TokenFault, parse_token};

/// The time without a response after which a plane counts as silent, because packets are probably being dropped. A
/// refused connection, in contrast, fails at once.
const SILENCE: Duration = Duration::from_secs(4);
/// The time for which a silent plane is skipped if there are other planes.
const SKIP_TIME: Duration = Duration::from_secs(300);

/// An error that prevents the planes from being dialled.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The token file cannot be read.
    #[error(
        "token_file: {}: {source}: {}", path.display(),
        match source.kind() {
            ErrorKind::NotFound => "enroll this host (`sentrazone-agent enroll --help`)",
            _ => "make it readable by the agent's user, or run the command as root",
        }
    )]
    File {
        /// The file.
        path: PathBuf,
        /// The error from the operating system.
        source: std::io::Error,
    },
    /// The token file does not contain exactly one agent's token.
    #[error(
        "token_file: {} {fault}, but must contain only the agent's token (szagent_…): correct it, or enroll this host \
         again (`wgctl server token SERVER` creates a new token)", path.display()
    )]
    NotAToken {
        /// The file.
        path: PathBuf,
        /// The reason why its content is not a token.
        fault: TokenFault,
    },
    /// The trusted certificates cannot be read.
    #[error(transparent)]
    Trust(#[from] config::Error),
    /// The HTTP client cannot be created.
    #[error(transparent)]
    Client(#[from] Error),
}

/// The agent's token, read from its file.
struct AgentToken {
    token: Zeroizing<String>,
    /// The warning to log if all users of this host can access the file. This is not an error, because refusing
    /// the token would cut the host off from its plane.
    warning: Option<String>,
}

impl AgentToken {
    fn read(path: &Path) -> Result<Self, SetupError> {
        let failed = |source| SetupError::File {
            path: path.to_owned(),
            source,
        };
        let content = Zeroizing::new(std::fs::read(path).map_err(failed)?);
        let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode() & 0o7777;
        let token = parse_token(&content).map_err(|fault| SetupError::NotAToken {
            path: path.to_owned(),
            fault,
        })?;
        let path = path.display();
        let warning = (mode & 0o007 != 0)
            .then(|| format!("token_file: {path} is accessible to every user (mode {mode:04o}): run chmod 600 {path}"));
        Ok(Self { token, warning })
    }
}

/// The planes. Clones share the choice of the current plane.
#[derive(Clone)]
pub struct Planes<P> {
    clients: Arc<[P]>,
    turn: Arc<Mutex<Rotation>>,
    jitter: Jitter,
}

/// The index of the current plane, and the time until which each silent plane is skipped.
#[derive(Default)]
struct Rotation {
    of: usize,
    silent: Vec<Option<Instant>>,
}

impl Planes<PlaneClient> {
    /// Creates clients for the configured planes, with the token from its file.
    pub fn configured(config: &Config) -> Result<Self, SetupError> {
        let AgentToken { token, warning } = AgentToken::read(&config.token_file)?;
        if let Some(warning) = warning {
            tracing::warn!("{warning}");
        }
        Ok(Self::new(clients(config, &token)?, Jitter::default()))
    }
}

fn clients(config: &Config, token: &Zeroizing<String>) -> Result<Vec<PlaneClient>, SetupError> {
    let trust = config.trust()?;
    let client = |url: &url::Url| {
        let client = PlaneClient::trusting(Target::Url(url.clone()), &trust)?;
        Ok(client.with_token(token.clone()))
    };
    config.plane.iter().map(client).collect()
}

/// Reads the files that the configuration names, as the agent does when it starts, but does not connect to a plane.
/// Returns the warning that the agent would log.
pub fn check_files(config: &Config) -> Result<Option<String>, SetupError> {
    let AgentToken { token, warning } = AgentToken::read(&config.token_file)?;
    clients(config, &token)?;
    Ok(warning)
}

impl<P: Clone> Planes<P> {
    /// Creates a rotation over these planes, starting with the first. `jitter` shortens the waits between
    /// attempts.
    #[must_use]
    pub fn new(clients: Vec<P>, jitter: Jitter) -> Self {
        Self {
            clients: clients.into(),
            turn: Arc::default(),
            jitter,
        }
    }

    fn turn(&self) -> MutexGuard<'_, Rotation> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the current plane.
    #[must_use]
    pub fn current(&self) -> Option<P> {
        self.clients.get(self.turn().of).cloned()
    }

    /// Switches to the next plane because the current one, dialled at `since`, has not responded. If it was silent
    /// for several seconds, every further attempt would take as long, so the plane is skipped for a while unless all
    /// planes are silent.
    pub fn next_after_silence(&self, since: Instant) {
        if since.elapsed() >= SILENCE {
            let mut turn = self.turn();
            let of = turn.of;
            turn.silent.resize(self.clients.len(), None);
            if let Some(silent) = turn.silent.get_mut(of) {
                *silent = Some(Instant::now() + SKIP_TIME);
            }
        }
        self.next();
    }

    /// Switches to the next plane.
    pub fn next(&self) {
        let (mut turn, count, now) = (self.turn(), self.clients.len(), Instant::now());
        let silent = |of: &usize| turn.silent.get(*of).copied().flatten().is_some_and(|until| until > now);
        let mut others = (1..=count).filter_map(|step| turn.of.saturating_add(step).checked_rem(count));
        let next = others.clone().find(|of| !silent(of)).or_else(|| others.next());
        turn.of = next.unwrap_or_default();
    }

    /// Returns a new backoff for a task that dials the planes.
    #[must_use]
    pub fn backoff(&self) -> Backoff {
        Backoff::new(self.jitter.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &Path, mode: u32) -> Config {
        let mut config = Config::new(vec!["https://plane.example.com".parse().unwrap()]);
        config.token_file = folder.join("agent.token");
        std::fs::write(&config.token_file, "szagent_token\n").unwrap();
        std::fs::set_permissions(&config.token_file, std::fs::Permissions::from_mode(mode)).unwrap();
        config
    }

    #[test]
    fn a_token_file_that_is_accessible_to_everyone_causes_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        for mode in [0o600, 0o640, 0o440] {
            assert_eq!(check_files(&config(folder.path(), mode)).unwrap(), None, "{mode:o}");
        }
        for mode in [0o644, 0o604, 0o602] {
            let warning = check_files(&config(folder.path(), mode)).unwrap().unwrap();
            assert!(
                warning.contains("agent.token") && warning.contains("chmod 600"),
                "{mode:o}: {warning}"
            );
        }
    }

    #[test]
    fn an_empty_or_missing_token_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), 0o600);
        std::fs::write(&config.token_file, " \n").unwrap();
        let error = check_files(&config).unwrap_err().to_string();
        assert!(error.contains("agent.token is empty"), "{error}");
        std::fs::remove_file(&config.token_file).unwrap();
        assert!(matches!(check_files(&config), Err(SetupError::File { .. })));
    }

    #[test]
    fn a_file_that_contains_no_agents_token_is_refused_without_showing_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), 0o600);
        std::fs::write(&config.token_file, "\u{feff}szagent_token\r\n").unwrap();
        assert_eq!(check_files(&config).unwrap(), None);
        for (content, fault) in [
            (&b"szagent_secret szagent_secret"[..], "contains 2 words"),
            (b"\"szagent_secret\"", "contains quotation marks"),
            (b"szapi_secret", "an API token (szapi_"),
            (b"secret", "does not begin with szagent_"),
            (b"\x7fELF secret", "is not plain text"),
        ] {
            std::fs::write(&config.token_file, content).unwrap();
            let error = check_files(&config).unwrap_err().to_string();
            assert!(
                error.starts_with("token_file: ") && error.contains("agent.token ") && error.contains(fault),
                "{error}"
            );
            assert!(error.contains("`wgctl server token SERVER`"), "{error}");
            assert!(!error.contains("secret"), "{error}");
            assert!(matches!(Planes::configured(&config), Err(SetupError::NotAToken { .. })));
        }
    }
}
