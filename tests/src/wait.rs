//! Waiting for conditions, never for a fixed time.
//!
//! Owns the deadline. It is generous, because the emulated host is slow; a test that passes does not
//! wait for it.

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

/// The longest time that a condition may take to become true.
pub const DEADLINE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(25);

/// Asks repeatedly until the answer satisfies the condition. Panics with the last answer after [`DEADLINE`].
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
        tokio::time::sleep(PAUSE).await;
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
        std::thread::sleep(PAUSE);
    }
}
