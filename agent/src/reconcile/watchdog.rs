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

#[cfg(test)]
mod tests {
    use super::*;

    fn watchdog(every: Option<Duration>) -> Watchdog {
        Watchdog { every, last: None }
    }

    #[test]
    fn one_notification_is_sent_per_interval() {
        let mut rare = watchdog(Some(Duration::from_secs(3600)));
        rare.alive();
        let first = rare.last.unwrap();
        rare.alive();
        assert_eq!(rare.last, Some(first));
        let mut often = watchdog(Some(Duration::ZERO));
        often.alive();
        let first = often.last.unwrap();
        while Instant::now() == first {}
        often.alive();
        assert!(often.last.unwrap() > first);
        let mut never = watchdog(None);
        never.alive();
        assert_eq!(never.last, None);
    }

    #[test]
    fn the_interval_bounds_the_wait_of_the_event_loop() {
        let every = Duration::from_secs(7);
        assert_eq!(watchdog(Some(every)).interval(), every);
        assert!(watchdog(None).interval() >= Duration::from_secs(60));
    }
}
