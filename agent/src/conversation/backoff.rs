//! The waits between attempts to reach a plane.
//!
//! Owns the length of the waits and their jitter. It must not depend on the operation that is retried.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// The maximum length of the first wait.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The maximum length of any wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A source of random numbers that shorten the waits.
#[derive(Clone)]
pub struct Jitter(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Jitter {
    /// Creates a source that takes its numbers from `next`.
    pub fn new(next: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(next))
    }
}

/// Uses the system's random numbers. If they are unavailable, the waits are zero, which loads the plane but
/// breaks nothing.
impl Default for Jitter {
    fn default() -> Self {
        Self::new(|| getrandom::u64().unwrap_or_default())
    }
}

/// Exponential backoff in which each wait is shortened by a random amount ("full jitter"), so that a thousand
/// agents that lost their plane at the same time do not reconnect at the same time.
pub struct Backoff {
    failures: u32,
    jitter: Jitter,
}

impl Backoff {
    /// Creates a backoff that starts with the shortest wait; `jitter` shortens the waits.
    #[must_use]
    pub const fn new(jitter: Jitter) -> Self {
        Self { failures: 0, jitter }
    }

    /// Starts again with the shortest wait.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// Returns the length of the next wait.
    pub fn wait(&mut self) -> Duration {
        let random = (self.jitter.0)();
        let bound = FIRST_WAIT
            .saturating_mul(2u32.saturating_pow(self.failures))
            .min(LONGEST_WAIT);
        self.failures = self.failures.saturating_add(1);
        let milliseconds = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(random.checked_rem(milliseconds).unwrap_or_default())
    }

    /// Sleeps for the next wait.
    pub async fn sleep(&mut self) {
        tokio::time::sleep(self.wait()).await;
    }

    /// Sleeps for the next wait, or until the agent has connected to a plane, so that messages to a plane that has
    /// come back are not delayed by the failures of another. Returns false if no further connection is possible.
    pub async fn sleep_unless(&mut self, connected: &mut watch::Receiver<u64>) -> bool {
        tokio::select! {
            biased;
            () = self.sleep() => true,
            changed = connected.changed() => changed.is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_start_over_after_a_reset() {
        let number = Arc::new(AtomicU64::new(0));
        let jitter = {
            let number = Arc::clone(&number);
            Jitter::new(move || number.load(Ordering::Relaxed))
        };
        let mut backoff = Backoff::new(jitter);
        // The longest possible wait is the limit minus 1 ms.
        let mut longest = || {
            let before = backoff.failures;
            let cuts = (0..=30_000).map(|cut| {
                number.store(cut, Ordering::Relaxed);
                backoff.failures = before;
                backoff.wait()
            });
            cuts.max().unwrap().as_millis()
        };
        let waits: Vec<u128> = (0..9).map(|_| longest()).collect();
        assert_eq!(waits, [499, 999, 1999, 3999, 7999, 15999, 29999, 29999, 29999]);
        backoff.reset();
        assert!(backoff.wait() < FIRST_WAIT);
    }
}
