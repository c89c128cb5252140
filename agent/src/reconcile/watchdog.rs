//! Signs of life for the service manager (`WatchdogSec=`, sd_watchdog_enabled(3)).
//!
//! Owns how often one is sent. It must not decide what life is: who owns it calls it.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// Sends signs of life, where somebody waits for them.
pub(crate) struct Watchdog {
    every: Option<Duration>,
    last: Option<Instant>,
}

impl Watchdog {
    /// As the environment says.
    pub(crate) fn new() -> Self {
        Self {
            every: sd_notify::watchdog_enabled().map(|patience| patience / 4),
            last: None,
        }
    }

    /// How long nothing may be said.
    pub(crate) fn interval(&self) -> Duration {
        self.every.unwrap_or(Duration::from_secs(3600))
    }

    /// Says that all is well, unless that was said a moment ago.
    pub(crate) fn alive(&mut self) {
        let recently = |every| self.last.is_some_and(|last| last.elapsed() < every);
        if self.every.is_some_and(|every| !recently(every)) {
            // The next one may get through.
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
            self.last = Some(Instant::now());
        }
    }
}
