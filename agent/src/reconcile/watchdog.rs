//! Keep-alive notifications for the service manager (`WatchdogSec=`, sd_watchdog_enabled(3)).
//!
//! Owns the interval between notifications. It must not decide whether the agent is alive: that belongs to the
//! caller.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// Sends keep-alive notifications, if the service manager expects them.
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

    /// Returns the maximum time between notifications.
    pub(crate) fn interval(&self) -> Duration {
        self.every.unwrap_or(Duration::from_secs(3600))
    }

    /// Sends a keep-alive notification, unless one was sent less than an interval ago.
    pub(crate) fn alive(&mut self) {
        let recently = |every| self.last.is_some_and(|last| last.elapsed() < every);
        if self.every.is_some_and(|every| !recently(every)) {
            // If this fails, the next notification may succeed.
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
            self.last = Some(Instant::now());
        }
    }
}
