//! The limit on changes of a host's key.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock as _;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use wgctl::ServerId;

use crate::fleet::Refusal;

/// Changes of a host's key that are allowed at once …
const KEYS_AT_ONCE: NonZeroU32 = match NonZeroU32::new(10) {
    Some(burst) => burst,
    None => NonZeroU32::MIN,
};
/// … and one more after each of these. Each change is a record of the audit log.
const KEYS_EVERY: Duration = Duration::from_secs(60);

/// The allowance of key changes for each server. In memory: it protects the disk from whoever has an
/// agent's token, and a restart allows no more than another burst.
pub(crate) struct HostKeys(DefaultKeyedRateLimiter<ServerId>);

impl Default for HostKeys {
    fn default() -> Self {
        let quota = Quota::with_period(KEYS_EVERY).unwrap_or(Quota::per_minute(NonZeroU32::MIN));
        Self(RateLimiter::dashmap(quota.allow_burst(KEYS_AT_ONCE)))
    }
}

impl HostKeys {
    /// Takes one change, or refuses with the time to wait.
    pub(crate) fn take(&self, server: &ServerId) -> Result<(), Refusal> {
        self.0.check_key(server).map_err(|until| Refusal::TooManyRequests {
            what: "the host of this server showed too many different keys",
            retry_after: until.wait_time_from(self.0.clock().now()).as_secs() + 1,
        })
    }
}
