//! The waits between attempts to reach a plane.
//!
//! Owns their length and their randomness. It must not know what is attempted.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// The first wait is at most this long.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// No wait is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A source of random numbers, which shorten the waits.
#[derive(Clone)]
pub struct Jitter(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Jitter {
    /// Numbers from `next`.
    pub fn new(next: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(next))
    }
}

/// The system's randomness. Without any the waits are zero, which loads the plane but breaks nothing.
impl Default for Jitter {
    fn default() -> Self {
        Self::new(|| getrandom::u64().unwrap_or_default())
    }
}

/// Waits that double, each shortened at random ("full jitter"), so that a thousand agents that lost their
/// plane together do not return together.
pub struct Backoff {
    failures: u32,
    jitter: Jitter,
}

impl Backoff {
    /// Waits that begin with the shortest, cut by `jitter`.
    #[must_use]
    pub const fn new(jitter: Jitter) -> Self {
        Self { failures: 0, jitter }
    }

    /// Starts again with the shortest wait.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next wait.
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

    /// Sleeps for the next wait, or until a plane is connected: a plane that is back should not wait for
    /// the failures of another. Returns false when no connection can come any more.
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
    fn waits_double_up_to_a_bound_and_begin_anew_after_success() {
        let number = Arc::new(AtomicU64::new(0));
        let jitter = {
            let number = Arc::clone(&number);
            Jitter::new(move || number.load(Ordering::Relaxed))
        };
        let mut backoff = Backoff::new(jitter);
        // The largest of all cuts is the bound, less one.
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
