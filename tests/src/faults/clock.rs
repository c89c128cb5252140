//! The system clock, set to a wrong time for a while.
//!
//! Owns setting it right again when dropped, by the monotonic clock. The whole machine shares this
//! clock, so a test may do this only in an emulated machine of its own.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};

/// The right time when this was made, against the monotonic clock.
#[derive(Debug)]
pub struct Clock {
    right: SystemTime,
    since: Instant,
}

impl Clock {
    /// Remembers the right time. Panics on a machine that others use.
    #[must_use]
    pub fn of_this_guest() -> Self {
        let kind = std::env::var("SENTRAZONE_GUEST_KIND").unwrap_or_default();
        assert!(
            matches!(kind.as_str(), "tcg" | "kvm"),
            "the clock is set only in an emulated machine: run with SENTRAZONE_GUEST=always"
        );
        Self {
            right: SystemTime::now(),
            since: Instant::now(),
        }
    }

    /// Sets the clock this many seconds away from the right time.
    pub fn jump(&self, seconds: i64) {
        let right = (self.right + self.since.elapsed())
            .duration_since(UNIX_EPOCH)
            .expect("a time after 1970");
        let away = Duration::from_secs(seconds.unsigned_abs());
        let wrong = if seconds < 0 {
            right.checked_sub(away).expect("a time after 1970")
        } else {
            right + away
        };
        clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::from_duration(wrong)).expect("setting the clock");
    }

    /// Sets the clock right.
    pub fn set_right(&self) {
        self.jump(0);
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.set_right();
    }
}
