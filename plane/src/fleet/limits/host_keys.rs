//! The limit on changes to a host's key.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock as _;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use wgctl::ServerId;

use crate::fleet::Refusal;

/// The number of key changes that a host may make in one burst.
const KEYS_AT_ONCE: NonZeroU32 = match NonZeroU32::new(10) {
    Some(burst) => burst,
    None => NonZeroU32::MIN,
};
/// The time after which one more change is allowed. Each change adds a record to the audit log.
const KEYS_EVERY: Duration = Duration::from_secs(60);

/// The number of key changes that each server is still allowed. It is kept in memory only: it protects
/// the disk from any holder of an agent token, and a restart allows at most one more burst.
pub(crate) struct HostKeys(DefaultKeyedRateLimiter<ServerId>);

impl Default for HostKeys {
    fn default() -> Self {
        let quota = Quota::with_period(KEYS_EVERY).unwrap_or(Quota::per_minute(NonZeroU32::MIN));
        Self(RateLimiter::dashmap(quota.allow_burst(KEYS_AT_ONCE)))
    }
}

impl HostKeys {
    /// Takes one change from the server's allowance, or returns a refusal with the time to wait.
    pub(crate) fn take(&self, server: &ServerId) -> Result<(), Refusal> {
        self.0.check_key(server).map_err(|until| Refusal::TooManyRequests {
            what: "the host of this server has sent too many different keys",
            retry_after: until.wait_time_from(self.0.clock().now()).as_secs() + 1,
        })
    }
}
