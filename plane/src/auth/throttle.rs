//! How many logins one address may try, and how many changes one principal may make.
//!
//! Owns both counts, in memory: they protect this process, while the count that protects an account
//! is in the store (`fleet::login_permitted`).

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use wgctl::name::{TokenId, UserId};

use crate::fleet::customer;

/// So many at once …
const BURST: NonZeroU32 = match NonZeroU32::new(30) {
    Some(burst) => burst,
    None => NonZeroU32::MIN,
};
/// … and one more after each of these.
const REFILL: Duration = Duration::from_secs(2);
/// After so many checks, addresses that are as good as new are forgotten.
const SWEEP_EVERY: u32 = 1024;

/// Counts the logins of each address; of each /64 in IPv6, which is one customer's.
pub(crate) struct LoginThrottle {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
    clock: DefaultClock,
    checks: AtomicU32,
}

impl LoginThrottle {
    pub(crate) fn new() -> Self {
        let quota = Quota::with_period(REFILL)
            .unwrap_or(Quota::per_second(NonZeroU32::MIN))
            .allow_burst(BURST);
        Self {
            limiter: RateLimiter::dashmap(quota),
            clock: DefaultClock::default(),
            checks: AtomicU32::new(0),
        }
    }

    /// Counts one login of `address`; the error is the seconds to wait.
    pub(crate) fn check(&self, address: IpAddr) -> Result<(), u64> {
        if self.checks.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.limiter.retain_recent();
        }
        self.limiter
            .check_key(&customer(address))
            .map_err(|until| until.wait_time_from(self.clock.now()).as_secs() + 1)
    }
}

/// Who makes changes, as far as their number is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Principal {
    /// A person.
    User(UserId),
    /// An API token.
    Token(TokenId),
    /// A user of this host.
    Local(Arc<str>),
}

/// Counts the changes of each principal.
pub(crate) struct WriteThrottle {
    limiter: DefaultKeyedRateLimiter<Principal>,
    clock: DefaultClock,
    checks: AtomicU32,
}

impl WriteThrottle {
    /// `burst` at once, and so many more each second.
    pub(crate) fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        Self {
            limiter: RateLimiter::dashmap(Quota::per_second(per_second).allow_burst(burst)),
            clock: DefaultClock::default(),
            checks: AtomicU32::new(0),
        }
    }

    /// Counts one change; the error is the seconds to wait.
    pub(crate) fn check(&self, principal: &Principal) -> Result<(), u64> {
        if self.checks.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.limiter.retain_recent();
        }
        self.limiter
            .check_key(principal)
            .map_err(|until| until.wait_time_from(self.clock.now()).as_secs() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_is_slowed_and_others_are_not() {
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
    fn one_principal_is_slowed_and_others_are_not() {
        let (five, ten) = (NonZeroU32::new(5).unwrap(), NonZeroU32::new(10).unwrap());
        let throttle = WriteThrottle::new(five, ten);
        let (one, other) = (Principal::User(UserId::random()), Principal::Local("ops".into()));
        let made = (0..100).filter(|_| throttle.check(&one).is_ok()).count();
        assert!((10..20).contains(&made), "{made}");
        assert_eq!(throttle.check(&one), Err(1));
        assert!(throttle.check(&other).is_ok());
    }
}
