//! Signs of life for the service manager (`WatchdogSec=`, sd_watchdog_enabled(3)).
//!
//! Owns how often one is sent. The caller decides when the agent is alive.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// Sends signs of life, if the service manager waits for them.
pub(crate) struct Watchdog {
    every: Option<Duration>,
    last: Option<Instant>,
}

impl Watchdog {
    /// Reads the interval from the environment.
    pub(crate) fn new() -> Self {
        Self {
            every: sd_notify::watchdog_enabled().map(|patience| patience / 4),
            last: None,
        }
    }

    /// The longest time without a sign of life.
    pub(crate) fn interval(&self) -> Duration {
        self.every.unwrap_or(Duration::from_secs(3600))
    }

    /// Sends a sign of life, unless one was sent a moment ago.
    pub(crate) fn alive(&mut self) {
        let recently = |every| self.last.is_some_and(|last| last.elapsed() < every);
        if self.every.is_some_and(|every| !recently(every)) {
            // The next one may get through.
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
            self.last = Some(Instant::now());
        }
    }
}
