//! Waiting for conditions, never for a fixed time.
//!
//! Owns the deadline. The deadline is generous, because the emulated host is slow. A test that passes never
//! waits that long.

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

/// The time within which a condition must become true.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// The shortest and the longest pause between two attempts. In the emulated host, an attempt that starts a program
/// costs more time than a shorter pause would save.
const PAUSES: [Duration; 2] = [Duration::from_millis(25), Duration::from_millis(200)];

/// Returns the next pause, a fraction of the time elapsed so far, so that measured times are only slightly too long.
fn pause(elapsed: Duration) -> Duration {
    (elapsed / 16).clamp(PAUSES[0], PAUSES[1])
}

/// Calls `ask` repeatedly until its result satisfies the condition. After [`DEADLINE`], panics with the last result.
pub async fn until<T, F>(what: &str, ask: impl FnMut() -> F, satisfied: impl Fn(&T) -> bool) -> T
where
    T: Debug,
    F: Future<Output = T>,
{
    within(DEADLINE, what, ask, satisfied).await
}

/// Like [`until`], with another deadline.
pub async fn within<T, F>(
    deadline: Duration,
    what: &str,
    mut ask: impl FnMut() -> F,
    satisfied: impl Fn(&T) -> bool,
) -> T
where
    T: Debug,
    F: Future<Output = T>,
{
    let start = Instant::now();
    loop {
        let answer = ask().await;
        if satisfied(&answer) {
            return answer;
        }
        assert!(
            start.elapsed() < deadline,
            "{what}: still not true after {deadline:?}: {answer:?}"
        );
        tokio::time::sleep(pause(start.elapsed())).await;
    }
}

/// Like [`until`], for a blocking call.
pub fn until_blocking<T: Debug>(what: &str, mut ask: impl FnMut() -> T, satisfied: impl Fn(&T) -> bool) -> T {
    let start = Instant::now();
    loop {
        let answer = ask();
        if satisfied(&answer) {
            return answer;
        }
        assert!(
            start.elapsed() < DEADLINE,
            "{what}: still not true after {DEADLINE:?}: {answer:?}"
        );
        std::thread::sleep(pause(start.elapsed()));
    }
}
