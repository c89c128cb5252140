//! How many logins one address may try.
//!
//! Owns the count per address, in memory: it protects this process's processors, while the count
//! that protects an account is in the store (`fleet::login_permitted`).

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

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

fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
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
}
