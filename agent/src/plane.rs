//! The planes to dial: one at a time, the next when it fails.
//!
//! Owns the HTTP clients with the agent's token, whose turn it is, and how long to wait before
//! dialling again. It must not know what is said.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use wgctl::client::{Client, Error, Target};
use zeroize::Zeroizing;

use crate::config::Config;

/// The first wait is at most this long.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// No wait is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Why there is nobody to dial.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The token file is empty.
    #[error("{0} is empty: enroll this host again (`wgctl server token SERVER` makes a new token)")]
    NoToken(String),
    /// The HTTP client cannot be made.
    #[error(transparent)]
    Client(#[from] Error),
}

/// The planes. Cloning shares whose turn it is.
#[derive(Clone)]
pub struct Planes {
    clients: Arc<[Client]>,
    turn: Arc<AtomicUsize>,
}

impl Planes {
    /// The configured planes, called with the token in its file.
    pub fn new(config: &Config) -> Result<Self, SetupError> {
        let read = |path: &std::path::Path| {
            std::fs::read(path).map_err(|source| SetupError::File {
                path: path.display().to_string(),
                source,
            })
        };
        let token = Zeroizing::new(read(&config.token_file)?);
        let token = Zeroizing::new(String::from_utf8_lossy(&token).trim().to_owned());
        if token.is_empty() {
            return Err(SetupError::NoToken(config.token_file.display().to_string()));
        }
        let certificates = config.ca_file.as_deref().map(read).transpose()?;
        let client = |url: &url::Url| {
            let client = Client::new(Target::Url(url.clone()), certificates.as_deref())?;
            Ok(client.with_token(token.clone()))
        };
        let clients = config.plane.iter().map(client).collect::<Result<Arc<[_]>, Error>>()?;
        Ok(Self {
            clients,
            turn: Arc::default(),
        })
    }

    /// The plane whose turn it is.
    #[must_use]
    pub fn current(&self) -> Option<Client> {
        let turn = self.turn.load(Ordering::Relaxed);
        self.clients.get(turn.checked_rem(self.clients.len())?).cloned()
    }

    /// The next one's turn.
    pub fn next(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits that double, each cut at random ("full jitter"), so that a thousand agents that lost their
/// plane together do not come back together.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// All is well again.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait now; `random` is any number.
    pub fn wait(&mut self, random: u64) -> Duration {
        let bound = FIRST_WAIT
            .saturating_mul(2u32.saturating_pow(self.failures))
            .min(LONGEST_WAIT);
        self.failures = self.failures.saturating_add(1);
        let milliseconds = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(random.checked_rem(milliseconds).unwrap_or_default())
    }

    /// Sleeps for the next wait.
    pub async fn sleep(&mut self) {
        let random = getrandom::u64().unwrap_or_default();
        tokio::time::sleep(self.wait(random)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_begin_anew_after_success() {
        let mut backoff = Backoff::default();
        // The largest number below the bound, whichever it is.
        let mut longest = || {
            (0..=30_000)
                .map(|r| {
                    Backoff {
                        failures: backoff.failures,
                    }
                    .wait(r)
                })
                .max()
                .map(|w| (w, backoff.wait(0)))
        };
        let waits: Vec<u128> = (0..9).map(|_| longest().unwrap().0.as_millis()).collect();
        assert_eq!(waits, [499, 999, 1999, 3999, 7999, 15999, 29999, 29999, 29999]);
        backoff.reset();
        assert!(backoff.wait(u64::MAX) < FIRST_WAIT);
    }
}
