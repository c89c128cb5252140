//! The lifetime of WireGuard sessions, read from `wg show … latest-handshakes`.
//!
//! Owns watching both ends of tunnels. WireGuard replaces a session on its own once the session is 120 s old
//! and there is something to send (`REKEY_AFTER_TIME`, drivers/net/wireguard/messages.h). An earlier
//! handshake, or a session that has disappeared (0), has another cause. Ages are
//! measured with the monotonic clock, so that jumps in the system clock do not matter.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wgctl::{PublicKey, Timestamp};

use crate::netns::Netns;

/// `REKEY_AFTER_TIME` minus a tolerance, because `wg` shows times in whole seconds.
const NATURAL_AGE: Duration = Duration::from_secs(117);
/// The time within which a second handshake belongs to the same renewal. An unanswered handshake is retried after 5 s
/// (`REKEY_TIMEOUT`). On a slow machine both attempts may be answered, which creates two sessions for one renewal.
const TRIED_AGAIN: Duration = Duration::from_secs(15);
/// The pause between two readings.
const PAUSE: Duration = Duration::from_secs(2);

/// One end of a tunnel.
#[derive(Debug, Clone)]
pub struct End {
    namespace: String,
    interface: String,
    peer: String,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in {}", self.interface, self.namespace)
    }
}

impl End {
    /// Returns the end of a tunnel at which `interface` has the peer `peer`.
    #[must_use]
    pub fn new(namespace: &Netns, interface: &str, peer: &PublicKey) -> Self {
        Self {
            namespace: namespace.name().to_owned(),
            interface: interface.to_owned(),
            peer: peer.to_string(),
        }
    }

    /// Returns the Unix time of the latest handshake, or 0 if there is no handshake, interface or peer.
    fn handshake(&self) -> i64 {
        let output = Command::new("ip")
            .args(["netns", "exec", &self.namespace])
            .args(["wg", "show", &self.interface, "latest-handshakes"])
            .output()
            .expect("wg");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix(&self.peer));
        line.and_then(|time| time.trim().parse().ok()).unwrap_or(0)
    }
}

/// A watch on sessions. It runs until [`Sessions::end`] or until it is dropped.
pub struct Sessions {
    ending: Arc<AtomicBool>,
    watcher: Option<JoinHandle<u32>>,
}

impl Sessions {
    /// Starts watching these ends, whose sessions must exist.
    #[must_use]
    pub fn watch(ends: Vec<End>) -> Self {
        let ending = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ending);
        let mut seen: Vec<Seen> = ends.iter().map(|end| Seen::new(end.handshake())).collect();
        let watcher = std::thread::spawn(move || {
            loop {
                let last = told.load(Ordering::Relaxed);
                for (end, seen) in ends.iter().zip(&mut seen) {
                    let handshake = end.handshake();
                    if let Some(age) = seen.look(handshake, born(handshake)) {
                        println!("{end}: a session ended after {age:.0?}");
                    }
                }
                if last {
                    break;
                }
                std::thread::park_timeout(PAUSE);
            }
            // Both ends of a tunnel see the same handshakes, so only the larger of the two counts is used.
            worst(&ends, &seen)
        });
        Self {
            ending,
            watcher: Some(watcher),
        }
    }

    /// Reads once more and ends the watch. Returns the number of sessions that were replaced too early or have
    /// disappeared.
    #[must_use]
    pub fn end(mut self) -> u32 {
        self.finish()
    }

    fn finish(&mut self) -> u32 {
        self.ending.store(true, Ordering::Relaxed);
        let Some(watcher) = self.watcher.take() else { return 0 };
        watcher.thread().unpark();
        watcher.join().expect("the watcher")
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
    }
}

/// Sums the provoked sessions per interface name, which is `tun0` on all devices. Returns the largest sum.
fn worst(ends: &[End], seen: &[Seen]) -> u32 {
    let mut sums: BTreeMap<&str, u32> = BTreeMap::new();
    for (end, seen) in ends.iter().zip(seen) {
        *sums.entry(&end.interface).or_default() += seen.provoked;
    }
    sums.into_values().max().unwrap_or(0)
}

/// The observations at one end of a tunnel.
#[derive(Debug)]
struct Seen {
    handshake: i64,
    /// The time of the handshake on the monotonic clock.
    born: Instant,
    /// True if the session began naturally, that is, the previous session was old enough.
    natural: bool,
    provoked: u32,
}

impl Seen {
    fn new(handshake: i64) -> Self {
        Self {
            handshake,
            born: born(handshake),
            natural: true,
            provoked: 0,
        }
    }

    /// Records the latest handshake, which was made at `born`. If the previous session ended too early, returns its
    /// age.
    fn look(&mut self, handshake: i64, born: Instant) -> Option<Duration> {
        if handshake == self.handshake {
            return None;
        }
        let age = born.saturating_duration_since(self.born);
        // The loss has already been counted, so the session that follows is not counted.
        let came_back = self.handshake == 0;
        let in_time = age >= NATURAL_AGE || came_back;
        let again = self.natural && age <= TRIED_AGAIN && !came_back;
        let provoked = handshake == 0 || !(in_time || again);
        self.provoked += u32::from(provoked);
        (self.handshake, self.born, self.natural) = (handshake, born, in_time && !came_back);
        provoked.then_some(age)
    }
}

/// Converts the handshake time that `wg` shows to the monotonic clock. The result is correct only if the system
/// clock has not been set since that handshake.
fn born(handshake: i64) -> Instant {
    let (now, wall) = (Instant::now(), Timestamp::now());
    let age = if handshake == 0 {
        Duration::ZERO
    } else {
        wall.since(Timestamp::from_unix(handshake))
    };
    now.checked_sub(age).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(begin: Instant) -> Seen {
        Seen {
            handshake: 1,
            born: begin,
            natural: true,
            provoked: 0,
        }
    }

    #[test]
    fn only_sessions_that_are_replaced_too_early_or_disappear_are_counted() {
        let begin = Instant::now();
        let mut seen = seen(begin);
        let mut look = |handshake, seconds| {
            let _ = seen.look(handshake, begin + Duration::from_secs(seconds));
            seen.provoked
        };
        assert_eq!(look(1, 100), 0, "the same session");
        assert_eq!(look(2, 121), 0, "a natural renewal");
        assert_eq!(look(3, 151), 1, "too early");
        assert_eq!(look(0, 160), 2, "lost");
        assert_eq!(look(4, 171), 2, "established again");
    }

    #[test]
    fn a_renewal_with_a_retried_handshake_counts_as_one() {
        let begin = Instant::now();
        let mut seen = seen(begin);
        let after = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(seen.look(2, after(120)), None);
        assert_eq!(seen.look(3, after(126)), None);
        assert!(
            seen.look(4, after(132)).is_some(),
            "a third handshake is not part of the same renewal"
        );
    }
}
