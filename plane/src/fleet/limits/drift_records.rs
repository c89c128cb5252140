//! The limit on the number of audit records of drift for each server.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use wgctl::ServerId;

/// The number of audit records of drift that one server may cause in one burst: the events of two
/// messages.
const BURST: NonZeroU32 = match NonZeroU32::new(128) {
    Some(burst) => burst,
    None => NonZeroU32::MIN,
};
/// The time after which one more record is allowed. Events beyond the limit are counted in a single record.
const REFILL: Duration = Duration::from_secs(5);

/// The number of audit records of drift that each server is still allowed. It is kept in memory only:
/// it protects the log from a broken or hostile agent, and a restart allows at most one more burst.
pub(crate) struct DriftRecords(DefaultKeyedRateLimiter<ServerId>);

impl Default for DriftRecords {
    fn default() -> Self {
        let quota = Quota::with_period(REFILL).unwrap_or(Quota::per_minute(NonZeroU32::MIN));
        Self(RateLimiter::dashmap(quota.allow_burst(BURST)))
    }
}

impl DriftRecords {
    /// Takes up to `wanted` records from the server's allowance. Returns the number taken.
    pub(crate) fn take(&self, server: &ServerId, wanted: usize) -> usize {
        (0..wanted).take_while(|_| self.0.check_key(server).is_ok()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_does_not_use_up_anothers_allowance() {
        let (one, other) = ("one".parse().unwrap(), "other".parse().unwrap());
        let allowance = DriftRecords::default();
        assert_eq!(allowance.take(&one, 1000), 128);
        assert_eq!(allowance.take(&one, 1), 0);
        assert_eq!(allowance.take(&other, 5), 5);
    }
}
