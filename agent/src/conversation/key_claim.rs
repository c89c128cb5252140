//! The claim of this host to be the server's: made again when the plane has another host's key on record.
//!
//! Owns when the agent introduces itself again within one connection. Two hosts that run with one
//! token would take the record from each other for ever: each claim waits longer than the one before
//! it. Pure: time is a parameter.

use std::time::Duration;

use tokio::time::Instant;
use wgctl::PublicKey;

/// The wait between the first two claims; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_secs(60);
/// No wait is longer. Without a need for a claim for this long after the last wait, it is short again.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// The claims made so far, as far as the next one depends on them.
#[derive(Debug)]
pub(super) struct KeyClaim {
    not_before: Option<Instant>,
    wait: Duration,
}

impl Default for KeyClaim {
    fn default() -> Self {
        Self {
            not_before: None,
            wait: FIRST_WAIT,
        }
    }
}

impl KeyClaim {
    /// Returns whether to introduce this host again, given the key that the plane has on record. A claim
    /// that is due counts as made.
    pub(super) fn is_due(&mut self, ours: &PublicKey, recorded: Option<&PublicKey>, now: Instant) -> bool {
        let Some(recorded) = recorded else { return false };
        if recorded == ours {
            if self.not_before.is_some_and(|then| now >= then + LONGEST_WAIT) {
                *self = Self::default();
            }
            return false;
        }
        if self.not_before.is_some_and(|then| now < then) {
            return false;
        }
        self.not_before = Some(now + self.wait);
        self.wait = self.wait.saturating_mul(2).min(LONGEST_WAIT);
        true
    }
}

#[cfg(test)]
mod tests {
    use wgctl::PrivateKey;

    use super::*;

    fn keys() -> [PublicKey; 2] {
        [(), ()].map(|()| PrivateKey::generate().unwrap().public_key())
    }

    #[test]
    fn another_key_on_record_is_claimed_at_once_and_ones_own_or_none_is_not() {
        let ([ours, theirs], now) = (keys(), Instant::now());
        let mut claim = KeyClaim::default();
        assert!(!claim.is_due(&ours, None, now), "an older plane does not say");
        assert!(!claim.is_due(&ours, Some(&ours), now));
        assert!(claim.is_due(&ours, Some(&theirs), now));
        assert!(!claim.is_due(&ours, Some(&theirs), now), "it was made a moment ago");
    }

    #[test]
    fn two_hosts_with_one_token_claim_ever_more_rarely() {
        let (keys, start) = (keys(), Instant::now());
        let mut claims = [KeyClaim::default(), KeyClaim::default()];
        let (mut recorded, mut made) = (keys[0], [0; 25]);
        // Each asks every 25 s, one day and an hour long.
        for poll in 0..25 * 144 {
            let now = start + Duration::from_secs(25) * poll;
            for (key, claim) in keys.iter().zip(&mut claims) {
                if claim.is_due(key, Some(&recorded), now) {
                    recorded = *key;
                    made[usize::try_from(poll / 144).unwrap()] += 1;
                }
            }
        }
        assert!(made[0] <= 14, "{made:?}");
        assert!(made[2..].iter().all(|count| *count <= 3), "{made:?}");
    }

    #[test]
    fn after_a_quiet_time_a_claim_is_made_at_once_again() {
        let ([ours, theirs], start) = (keys(), Instant::now());
        let mut claim = KeyClaim::default();
        let mut now = start;
        for _ in 0..10 {
            assert!(claim.is_due(&ours, Some(&theirs), now));
            now += LONGEST_WAIT;
        }
        now += LONGEST_WAIT;
        assert!(!claim.is_due(&ours, Some(&ours), now), "it is quiet");
        assert!(claim.is_due(&ours, Some(&theirs), now));
        assert!(claim.is_due(&ours, Some(&theirs), now + FIRST_WAIT), "and soon after");
    }
}
