//! This host's repeated claim to be the server, made when the plane has recorded another host's key.
//!
//! Owns the decision on when the agent introduces itself again within one connection. It must not repeat claims
//! at a fixed rate: two hosts with the same token would overwrite each other's key forever, so each claim waits
//! longer than the previous one. Time is a parameter.

use std::time::Duration;

use tokio::time::Instant;
use wgctl::PublicKey;

/// The wait between the first two claims; it doubles with each further claim.
const FIRST_WAIT: Duration = Duration::from_secs(60);
/// The maximum wait. If no claim is needed for this long after the last wait, the wait is reset to the shortest.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// The part of the claim history on which the next claim depends.
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
    /// Returns whether to introduce this host again, given the key that the plane has recorded. If the result is
    /// true, the claim counts as made.
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
    fn a_claim_is_made_at_once_only_if_another_hosts_key_is_recorded() {
        let ([ours, theirs], now) = (keys(), Instant::now());
        let mut claim = KeyClaim::default();
        assert!(
            !claim.is_due(&ours, None, now),
            "an older plane does not send its recorded key"
        );
        assert!(!claim.is_due(&ours, Some(&ours), now));
        assert!(claim.is_due(&ours, Some(&theirs), now));
        assert!(
            !claim.is_due(&ours, Some(&theirs), now),
            "a claim was made a moment ago"
        );
    }

    #[test]
    fn two_hosts_with_the_same_token_make_claims_less_and_less_often() {
        let (keys, start) = (keys(), Instant::now());
        let mut claims = [KeyClaim::default(), KeyClaim::default()];
        let (mut recorded, mut made) = (keys[0], [0; 25]);
        // Each host polls every 25 s, for 25 hours.
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
    fn after_a_quiet_period_claims_are_made_at_once_again() {
        let ([ours, theirs], start) = (keys(), Instant::now());
        let mut claim = KeyClaim::default();
        let mut now = start;
        for _ in 0..10 {
            assert!(claim.is_due(&ours, Some(&theirs), now));
            now += LONGEST_WAIT;
        }
        now += LONGEST_WAIT;
        assert!(!claim.is_due(&ours, Some(&ours), now), "no claim is needed");
        assert!(claim.is_due(&ours, Some(&theirs), now));
        assert!(
            claim.is_due(&ours, Some(&theirs), now + FIRST_WAIT),
            "the next wait is short again"
        );
    }
}
