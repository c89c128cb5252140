//! The limit on audit records of refusals, which unauthenticated clients and agents can cause.
//!
//! Owns the limit: a limited number of refusals per minute get records of their own, and one record
//! counts the rest of that minute. The counts are kept in memory only, because the limit protects the
//! disk, and a restart allows at most one more burst.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use uuid::Uuid;
use wgctl::ServerId;

use crate::fleet::{Caller, Fleet, Refusal};
use crate::model::caller::{Action, Actor, Entry};
use crate::model::client_network::client_network;
use crate::store::{Change, DurableWrite};

/// The number of records of one kind that may be written in one burst.
const BURST: NonZeroU32 = match NonZeroU32::new(60) {
    Some(burst) => burst,
    None => NonZeroU32::MIN,
};
/// The time after which one more record may be written.
const REFILL: Duration = Duration::from_secs(6);
/// The time after which one more record may be written for failed logins from one share. All shares
/// together get one more record per `REFILL`.
const REFILL_OF_SHARE: Duration = Duration::from_secs(6 * SHARES);

/// The number of shares into which addresses are divided. A flood hides only the failures from its
/// own share.
const SHARES: u64 = 16;

/// A share of all addresses. The assignment of addresses to shares is secret and differs between
/// processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Share(u64);

/// A kind of event that may flood the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Flood {
    /// Failed logins from the addresses of one share.
    Logins(Share),
    /// Requests with invalid agent tokens.
    Strangers,
    /// Requests from one server's agent for objects that do not belong to that server.
    Agent(ServerId),
}

impl Flood {
    const fn action(&self) -> Action {
        match self {
            Self::Logins(_) => Action::LoginFailed,
            Self::Strangers | Self::Agent(_) => Action::AgentRefused,
        }
    }

    fn actor(&self) -> Actor {
        match self {
            Self::Logins(_) => Actor::Nobody("many".to_owned()),
            Self::Strangers => Actor::Nobody(UNKNOWN_AGENT.to_owned()),
            Self::Agent(server) => Actor::Agent(server.clone()),
        }
    }
}

/// The actor recorded for requests with an agent token that belongs to no server.
const UNKNOWN_AGENT: &str = "agent:?";

/// The number of records that each flood is still allowed, and the number that have been omitted.
pub(crate) struct Floods {
    allowed: DefaultKeyedRateLimiter<Flood>,
    logins: DefaultKeyedRateLimiter<Flood>,
    left_out: Mutex<HashMap<Flood, u64>>,
    deal: RandomState,
}

impl Default for Floods {
    fn default() -> Self {
        let every = |refill| {
            let quota = Quota::with_period(refill).unwrap_or(Quota::per_minute(NonZeroU32::MIN));
            RateLimiter::dashmap(quota.allow_burst(BURST))
        };
        Self {
            allowed: every(REFILL),
            logins: every(REFILL_OF_SHARE),
            left_out: Mutex::default(),
            deal: RandomState::new(),
        }
    }
}

impl Floods {
    /// Returns the flood that a failed login from `ip` belongs to.
    pub(crate) fn logins(&self, ip: Option<IpAddr>) -> Flood {
        Flood::Logins(Share(self.deal.hash_one(ip.map(client_network)) % SHARES))
    }

    /// Returns whether one more event may have a record of its own. If not, counts the event as
    /// omitted.
    pub(crate) fn admits(&self, flood: &Flood) -> bool {
        let limiter = match flood {
            Flood::Logins(_) => &self.logins,
            Flood::Strangers | Flood::Agent(_) => &self.allowed,
        };
        let allowed = limiter.check_key(flood).is_ok();
        if !allowed {
            // The omitted records of all shares are counted together.
            let flood = match flood {
                Flood::Logins(_) => Flood::Logins(Share(0)),
                other => other.clone(),
            };
            *self.counted().entry(flood).or_default() += 1;
        }
        allowed
    }

    /// Returns the counts since the last call, and resets them.
    fn take(&self) -> HashMap<Flood, u64> {
        std::mem::take(&mut self.counted())
    }

    /// Adds back a count that could not be recorded.
    fn give_back(&self, flood: Flood, count: u64) {
        *self.counted().entry(flood).or_default() += count;
    }

    fn counted(&self) -> MutexGuard<'_, HashMap<Flood, u64>> {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fleet {
    /// Records that an agent requested an object that does not belong to its server.
    pub async fn agent_refused(&self, caller: &Caller, target: &str) -> Result<(), Refusal> {
        let flood = match &caller.actor {
            Actor::Agent(server) => Flood::Agent(server.clone()),
            _ => Flood::Strangers,
        };
        if !self.shared.limits.floods.admits(&flood) {
            return Ok(());
        }
        let entry = Entry::new(Action::AgentRefused, target);
        self.change(caller, move |_: &dyn DurableWrite| Ok(Change::new((), entry)))
            .await
    }

    /// Records a request with an invalid agent token.
    pub async fn agent_token_refused(
        &self,
        target: &str,
        ip: Option<IpAddr>,
        request: Option<Uuid>,
    ) -> Result<(), Refusal> {
        let caller = Caller {
            request,
            ..Caller::standing(Actor::Nobody(UNKNOWN_AGENT.to_owned()), ip)
        };
        self.agent_refused(&caller, target).await
    }

    /// Writes the number of omitted records to the audit log, in one record for each flood.
    pub(crate) async fn record_omitted(&self) -> Result<(), Refusal> {
        let mut outcome = Ok(());
        for (flood, count) in self.shared.limits.floods.take() {
            if outcome.is_err() {
                self.shared.limits.floods.give_back(flood, count);
                continue;
            }
            let caller = Caller::standing(flood.actor(), None);
            let detail = format!("{count} more, too many in a short time to record individually");
            let entry = Entry::new(flood.action(), "many").with_detail(detail);
            outcome = self
                .change(&caller, move |_: &dyn DurableWrite| Ok(Change::new((), entry)))
                .await;
            if outcome.is_err() {
                self.shared.limits.floods.give_back(flood, count);
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn one_flood_does_not_use_up_anothers_allowance() {
        let floods = Floods::default();
        let told = |flood: &Flood| (0..1000).filter(|_| floods.admits(flood)).count();
        let one = Flood::Agent("one".parse().unwrap());
        let from = |last| floods.logins(Some(Ipv4Addr::new(192, 0, 2, last).into()));
        assert_eq!(from(1), from(1));
        assert!((60..70).contains(&told(&from(1))));
        let other = (2..=255).map(from).find(|flood| *flood != from(1)).unwrap();
        assert!(floods.admits(&other));
        assert!((60..70).contains(&told(&one)));
        assert!(floods.admits(&Flood::Agent("other".parse().unwrap())));
        let left_out = floods.take();
        assert!((930..=940).contains(&left_out[&one]), "{left_out:?}");
        assert!(floods.take().is_empty());
    }
}
