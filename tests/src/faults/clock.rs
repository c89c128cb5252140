//! The system clock, temporarily set to a wrong time.
//!
//! Owns setting the clock right again on drop, with the help of the monotonic clock. The whole machine shares
//! the system clock, so a test may change it only in an emulated machine of its own.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};

/// The correct time at which this value was created, and the monotonic clock's reading at that moment.
#[derive(Debug)]
pub struct Clock {
    right: SystemTime,
    since: Instant,
}

impl Clock {
    /// Remembers the correct time. Panics if the machine is not emulated, because other programs use its clock.
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

    /// Sets the clock this many seconds ahead of the correct time, or behind it if negative.
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

    /// Sets the clock to the correct time.
    pub fn set_right(&self) {
        self.jump(0);
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.set_right();
    }
}
