//! The throttles on logins from one address and on changes by one principal.
//!
//! Owns both counts, which protect this process and are kept only in memory. The count that protects an account is
//! in the store (`Fleet::login_permitted`).

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use wgctl::name::{TokenId, UserId};

use crate::model::client_network::client_network;

/// The number of logins that are allowed at once.
const BURST: NonZeroU32 = match NonZeroU32::new(30) {
    Some(burst) => burst,
    None => NonZeroU32::MIN,
};
/// The time after which one more login is allowed.
const REFILL: Duration = Duration::from_secs(2);
/// The number of checks after which keys with a full bucket are removed.
const SWEEP_EVERY: u32 = 1024;

/// A token bucket for each key.
struct Buckets<K: Clone + Eq + Hash, C: Clock = DefaultClock> {
    limiter: RateLimiter<K, DefaultKeyedStateStore<K>, C, NoOpMiddleware<C::Instant>>,
    checks: AtomicU32,
}

impl<K: Clone + Eq + Hash, C: Clock> Buckets<K, C> {
    fn new(quota: Quota, clock: C) -> Self {
        Self {
            limiter: RateLimiter::dashmap_with_clock(quota, clock),
            checks: AtomicU32::new(0),
        }
    }

    /// Takes one token from the bucket for `key`. The error is the number of seconds until there is one.
    fn take(&self, key: &K) -> Result<(), u64> {
        if self.checks.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(key).map_err(|until| {
            let wait = until.wait_time_from(self.limiter.clock().now());
            // The token may have become available in the meantime: the error is still at least one second.
            (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
        })
    }
}

fn login_quota() -> Quota {
    Quota::with_period(REFILL)
        .unwrap_or(Quota::per_second(NonZeroU32::MIN))
        .allow_burst(BURST)
}

/// Counts the logins from each address or, in IPv6, from each /64, which belongs to one client.
pub(crate) struct LoginThrottle(Buckets<IpAddr>);

impl LoginThrottle {
    pub(crate) fn new() -> Self {
        Self(Buckets::new(login_quota(), DefaultClock::default()))
    }

    /// Counts one login from `address`. The error is the number of seconds to wait.
    pub(crate) fn check(&self, address: IpAddr) -> Result<(), u64> {
        self.0.take(&client_network(address))
    }
}

/// The author of a change. Changes are counted separately for each author.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Principal {
    /// A person.
    User(UserId),
    /// An API token.
    Token(TokenId),
    /// A local user.
    Local(Arc<str>),
}

/// Counts the changes by each principal.
pub(crate) struct WriteThrottle(Buckets<Principal>);

impl WriteThrottle {
    /// Allows `burst` changes at once, and `per_second` more each second.
    pub(crate) fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        let quota = Quota::per_second(per_second).allow_burst(burst);
        Self(Buckets::new(quota, DefaultClock::default()))
    }

    /// Counts one change. The error is the number of seconds to wait.
    pub(crate) fn check(&self, principal: &Principal) -> Result<(), u64> {
        self.0.take(principal)
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_one_login_per_refill() {
        let clock = FakeRelativeClock::default();
        let buckets = Buckets::new(login_quota(), clock.clone());
        assert!((0..30).all(|_| buckets.take(&1).is_ok()));
        assert_eq!(buckets.take(&1), Err(2));
        clock.advance(Duration::from_millis(500));
        assert_eq!(buckets.take(&1), Err(2), "the wait is rounded up to whole seconds");
        clock.advance(Duration::from_millis(500));
        assert_eq!(buckets.take(&1), Err(1));
        clock.advance(Duration::from_secs(1));
        assert_eq!(buckets.take(&1), Ok(()));
        assert_eq!(buckets.take(&1), Err(2));
    }

    #[test]
    fn a_flood_from_new_keys_does_not_exhaust_the_memory() {
        let clock = FakeRelativeClock::default();
        let buckets = Buckets::new(login_quota(), clock.clone());
        assert!((0..30).all(|_| buckets.take(&0).is_ok()));
        let newcomers = |keys: std::ops::Range<u32>| {
            keys.map(|key| {
                clock.advance(Duration::from_millis(10));
                assert!(buckets.take(&key).is_ok());
                buckets.limiter.len()
            })
            .max()
        };
        // Removing keys requires a scan of all of them, so it is not done at every check.
        assert_eq!(newcomers(1..500), Some(500));
        assert!(newcomers(500..10 * SWEEP_EVERY).is_some_and(|most| most < 2 * SWEEP_EVERY as usize));
    }

    #[test]
    fn a_throttled_key_is_not_swept() {
        let clock = FakeRelativeClock::default();
        let buckets = Buckets::new(login_quota(), clock.clone());
        assert!((0..30).all(|_| buckets.take(&0).is_ok()));
        clock.advance(Duration::from_secs(10));
        (1..=SWEEP_EVERY).for_each(|key| assert!(buckets.take(&key).is_ok()));
        assert_eq!((0..30).filter(|_| buckets.take(&0).is_ok()).count(), 5);
    }

    #[test]
    fn one_address_is_throttled_and_others_are_not() {
        let throttle = LoginThrottle::new();
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let refused = (0..100).find_map(|_| throttle.check(one).err());
        assert!(refused.is_some_and(|seconds| (1..=3).contains(&seconds)));
        assert!(throttle.check(other).is_ok());
    }

    #[test]
    fn changing_the_low_half_of_an_ipv6_address_does_not_help() {
        let throttle = LoginThrottle::new();
        let refused = (0..100u128).any(|low| {
            throttle
                .check(IpAddr::V6((0x2001_0db8_u128 << 96 | low).into()))
                .is_err()
        });
        assert!(refused);
    }

    #[test]
    fn an_address_is_the_same_however_it_is_written() {
        let throttle = LoginThrottle::new();
        let (bare, mapped) = ("192.0.2.1".parse().unwrap(), "::ffff:192.0.2.1".parse().unwrap());
        let refused = (0..100).position(|turn| throttle.check(if turn % 2 == 0 { bare } else { mapped }).is_err());
        assert_eq!(refused, Some(30));
    }

    #[test]
    fn one_principal_is_throttled_and_others_are_not() {
        let (five, ten) = (NonZeroU32::new(5).unwrap(), NonZeroU32::new(10).unwrap());
        let throttle = WriteThrottle::new(five, ten);
        let (one, other) = (Principal::User(UserId::random()), Principal::Local("ops".into()));
        let made = (0..100).filter(|_| throttle.check(&one).is_ok()).count();
        assert!((10..20).contains(&made), "{made}");
        assert_eq!(throttle.check(&one), Err(1));
        assert!(throttle.check(&other).is_ok());
    }
}
