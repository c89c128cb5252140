//! The planes to dial: one at a time, the next when one fails.
//!
//! Owns the HTTP clients with the agent's token, and the choice of the plane to dial next. It must
//! not decide what is said to it.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use wgctl::client::{Error, PlaneClient, Target};
use zeroize::Zeroizing;

use super::backoff::{Backoff, Jitter};
use crate::config::{self, Config};

/// A plane that is silent for this long drops what it is sent: a refusal would be immediate.
const SILENCE: Duration = Duration::from_secs(4);
/// The time for which such a plane is skipped while there are others.
const PASSED_OVER: Duration = Duration::from_secs(300);

/// Planes that cannot be dialled.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The token's file cannot be read.
    #[error(
        "token_file: {}: {source}: {}", path.display(),
        match source.kind() {
            ErrorKind::NotFound => "enroll this host (`sentrazone-agent enroll --help`)",
            _ => "the agent's user must be able to read it, as root can",
        }
    )]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The token file is empty.
    #[error("{0} is empty: enroll this host again (`wgctl server token SERVER` makes a new token)")]
    NoToken(String),
    /// The certificates to trust.
    #[error(transparent)]
    Trust(#[from] config::Error),
    /// The HTTP client cannot be made.
    #[error(transparent)]
    Client(#[from] Error),
}

/// The agent's token, as its file holds it.
struct AgentToken {
    token: Zeroizing<String>,
    /// The file is open to everybody on this host. No reason to leave a host without its plane.
    warning: Option<String>,
}

impl AgentToken {
    fn read(path: &Path) -> Result<Self, SetupError> {
        let failed = |source| SetupError::File {
            path: path.to_owned(),
            source,
        };
        let token = Zeroizing::new(std::fs::read(path).map_err(failed)?);
        let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode() & 0o7777;
        let token = Zeroizing::new(String::from_utf8_lossy(&token).trim().to_owned());
        let path = path.display();
        if token.is_empty() {
            return Err(SetupError::NoToken(path.to_string()));
        }
        let warning = (mode & 0o007 != 0)
            .then(|| format!("token_file: everybody on this host can use {path} (mode {mode:04o}): chmod 600 {path}"));
        Ok(Self { token, warning })
    }
}

/// The planes. Clones share the current one.
#[derive(Clone)]
pub struct Planes<P> {
    clients: Arc<[P]>,
    turn: Arc<Mutex<Rotation>>,
    jitter: Jitter,
}

/// The position of the current plane, and until when each silent one is skipped.
#[derive(Default)]
struct Rotation {
    of: usize,
    silent: Vec<Option<Instant>>,
}

impl Planes<PlaneClient> {
    /// The configured planes, called with the token in its file.
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

/// Reads the files that the configuration names, as the agent does when it starts, and dials nobody.
/// Returns the warning that the agent would log.
pub fn check_files(config: &Config) -> Result<Option<String>, SetupError> {
    let AgentToken { token, warning } = AgentToken::read(&config.token_file)?;
    clients(config, &token)?;
    Ok(warning)
}

impl<P: Clone> Planes<P> {
    /// These planes, beginning with the first. `jitter` shortens the waits between attempts.
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

    /// The plane whose turn it is.
    #[must_use]
    pub fn current(&self) -> Option<P> {
        self.clients.get(self.turn().of).cloned()
    }

    /// The next one's turn. The current one was dialled at `since` and said nothing: if that took
    /// its time, each turn of it would, so it has none for a while unless all are like it.
    pub fn next_after_silence(&self, since: Instant) {
        if since.elapsed() >= SILENCE {
            let mut turn = self.turn();
            let of = turn.of;
            turn.silent.resize(self.clients.len(), None);
            if let Some(silent) = turn.silent.get_mut(of) {
                *silent = Some(Instant::now() + PASSED_OVER);
            }
        }
        self.next();
    }

    /// The next one's turn.
    pub fn next(&self) {
        let (mut turn, count, now) = (self.turn(), self.clients.len(), Instant::now());
        let silent = |of: &usize| turn.silent.get(*of).copied().flatten().is_some_and(|until| until > now);
        let mut others = (1..=count).filter_map(|step| turn.of.saturating_add(step).checked_rem(count));
        let next = others.clone().find(|of| !silent(of)).or_else(|| others.next());
        turn.of = next.unwrap_or_default();
    }

    /// Waits for a task that dials them.
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
        std::fs::write(&config.token_file, "token\n").unwrap();
        std::fs::set_permissions(&config.token_file, std::fs::Permissions::from_mode(mode)).unwrap();
        config
    }

    #[test]
    fn a_token_file_that_everybody_can_read_is_warned_of() {
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
    fn a_token_file_that_is_empty_or_absent_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), 0o600);
        std::fs::write(&config.token_file, " \n").unwrap();
        assert!(matches!(check_files(&config), Err(SetupError::NoToken(_))));
        std::fs::remove_file(&config.token_file).unwrap();
        assert!(matches!(check_files(&config), Err(SetupError::File { .. })));
    }
}
