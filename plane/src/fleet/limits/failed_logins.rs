//! The limit on attempts to guess an account's password.
//!
//! Owns the calculation of penalties, and the limit on concurrent attempts. It must not treat an
//! account that does not exist differently from one that does.
//!
//! The wait is capped. At the cap, 60 attempts per hour are allowed for an account, and an attacker who
//! guesses constantly would use up all of them. Failures from addresses from which somebody has
//! recently logged in to the account are therefore counted separately.

use crate::model::client_network::client_network;
use crate::store::Read;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use wgctl::Timestamp;
use wgctl::name::Email;

use crate::fleet::Refusal;
use crate::model::records::Penalty;

/// The number of attempts before the first wait.
const FREE: u32 = 5;

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(60);

const TOO_MANY: &str = "too many failed logins for this account";

/// The maximum number of known addresses of an account.
const KNOWN: usize = 4;

/// The time without a failure after which earlier failures are forgotten.
pub(crate) const FORGOTTEN: Duration = Duration::from_secs(3600);

/// Returns the key of an account: a hash of the submitted email. The email may have any length, and the
/// account need not exist.
pub(crate) fn account(email: &str) -> [u8; 32] {
    Sha256::digest(email.trim().to_lowercase().as_bytes()).into()
}

/// Returns the key under which failed logins to an account from one of its known addresses are counted.
fn account_from(account: &[u8; 32], known: IpAddr) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(account);
    hash.update(known.to_string().as_bytes());
    hash.finalize().into()
}

/// Returns the key under which failed logins as `email` from `ip` are counted.
pub(crate) fn failure_key(tx: &dyn Read, email: &str, ip: Option<IpAddr>) -> Result<[u8; 32], Refusal> {
    let account = account(email);
    let user = match email.parse::<Email>() {
        Ok(email) => tx.user_by_email(&email)?,
        Err(_) => None,
    };
    let known = ip
        .map(client_network)
        .filter(|ip| user.is_some_and(|user| user.known_addresses.contains(ip)));
    Ok(known.map_or(account, |known| account_from(&account, known)))
}

/// Adds `ip` to the known addresses of an account after a login.
pub(crate) fn remember(known: &mut Vec<IpAddr>, ip: IpAddr) {
    let ip = client_network(ip);
    known.retain(|other| *other != ip);
    known.insert(0, ip);
    known.truncate(KNOWN);
}

/// Returns the time that must pass between the last failure and the next attempt.
fn wait(penalty: &Penalty) -> Duration {
    match penalty.failures.checked_sub(FREE) {
        None => Duration::ZERO,
        Some(over) => Duration::from_secs(1u64 << over.min(16)).min(LONGEST),
    }
}

/// Refuses a login if the wait after the last failure is not over yet.
pub(crate) fn check(penalty: &Penalty, now: Timestamp) -> Result<(), Refusal> {
    let wait = wait(penalty);
    // A clock that has been set back must not make anyone wait longer than `LONGEST`.
    let passed = if now < penalty.last {
        LONGEST
    } else {
        now.since(penalty.last)
    };
    if passed >= wait {
        return Ok(());
    }
    Err(Refusal::TooManyRequests {
        what: TOO_MANY,
        retry_after: (wait - passed).as_secs().max(1),
    })
}

/// Returns the penalty after one more failure.
pub(crate) fn lengthened(penalty: &Penalty, now: Timestamp) -> Penalty {
    let forgotten = now.since(penalty.last) >= FORGOTTEN;
    Penalty {
        failures: if forgotten {
            1
        } else {
            penalty.failures.saturating_add(1)
        },
        last: now,
    }
}

type UnderWay = Arc<Mutex<HashMap<[u8; 32], u32>>>;

/// The logins in progress, by account. Without a limit on them, a thousand concurrent logins would all
/// be tried before the first one failed.
#[derive(Default)]
pub(crate) struct Logins(UnderWay);

impl Logins {
    /// Begins a login. Refuses it if so many logins to the account are in progress that there would be
    /// a wait if all of them failed.
    pub(crate) fn begin(&self, account: [u8; 32], penalty: &Penalty) -> Result<LoginPermit, Refusal> {
        let mut logins = lock(&self.0);
        let under_way = logins.get(&account).copied().unwrap_or(0);
        if under_way > 0 && penalty.failures.saturating_add(under_way) >= FREE {
            return Err(Refusal::TooManyRequests {
                what: TOO_MANY,
                retry_after: 1,
            });
        }
        logins.insert(account, under_way + 1);
        Ok(LoginPermit {
            account,
            logins: Arc::clone(&self.0),
        })
    }
}

/// A permit for one login. Hold it until the outcome has been recorded.
#[must_use = "the login is in progress while this is held"]
pub struct LoginPermit {
    account: [u8; 32],
    logins: UnderWay,
}

impl Drop for LoginPermit {
    fn drop(&mut self) {
        let mut logins = lock(&self.logins);
        let left = logins
            .get(&self.account)
            .map_or(0, |under_way| under_way.saturating_sub(1));
        if left == 0 {
            logins.remove(&self.account);
        } else {
            logins.insert(self.account, left);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(failures: u32) -> Penalty {
        Penalty {
            failures,
            last: Timestamp::from_unix(1000),
        }
    }

    #[test]
    fn waits_double_up_to_a_minute() {
        let waits: Vec<u64> = [0, 4, 5, 6, 10, 11, 1000].map(|n| wait(&after(n)).as_secs()).into();
        assert_eq!(waits, [0, 0, 1, 2, 32, 60, 60]);
    }

    #[test]
    fn a_refusal_states_how_long_to_wait() {
        let refused = check(&after(11), Timestamp::from_unix(1020)).unwrap_err();
        assert_eq!(refused.retry_after(), Some(40));
        let at_once = check(&after(11), Timestamp::from_unix(1000)).unwrap_err();
        assert_eq!(at_once.retry_after(), Some(60));
        assert!(check(&after(11), Timestamp::from_unix(1060)).is_ok());
        assert!(
            check(&after(1000), Timestamp::from_unix(0)).is_ok(),
            "the clock was set back"
        );
    }

    #[test]
    fn failures_are_counted_separately_for_each_account_and_each_known_address() {
        let (one, other) = (account("ops@example.com"), account("other@example.com"));
        let address = |text: &str| text.parse().unwrap();
        let all = std::collections::BTreeSet::from([
            one,
            other,
            account_from(&one, address("192.0.2.1")),
            account_from(&one, address("192.0.2.2")),
            account_from(&other, address("192.0.2.1")),
        ]);
        assert_eq!(all.len(), 5);
    }

    #[test]
    fn failures_are_forgotten_after_an_hour_without_another_failure() {
        assert_eq!(lengthened(&after(50), Timestamp::from_unix(1000 + 3600)).failures, 1);
        assert_eq!(lengthened(&after(50), Timestamp::from_unix(1000 + 3599)).failures, 51);
    }

    #[test]
    fn concurrent_guesses_are_limited_to_the_attempts_allowed_without_a_wait() {
        let logins = Logins::default();
        let mut held = Vec::new();
        while let Ok(permit) = logins.begin(account("ops@example.com"), &after(0)) {
            held.push(permit);
        }
        assert_eq!(held.len(), 5);
        assert!(logins.begin(account("other@example.com"), &after(0)).is_ok());
        held.clear();
        assert!(lock(&logins.0).is_empty());
        let _one = logins.begin(account(" OPS@example.com"), &after(100)).unwrap();
        assert!(logins.begin(account("ops@example.com"), &after(100)).is_err());
    }

    #[test]
    fn an_account_remembers_only_its_latest_addresses() {
        let mut known = Vec::new();
        for last in [1, 2, 3, 4, 1, 5] {
            remember(&mut known, IpAddr::from([192, 0, 2, last]));
        }
        assert_eq!(known, [5, 1, 4, 3].map(|last| IpAddr::from([192, 0, 2, last])));
        remember(&mut known, "::ffff:192.0.2.3".parse().unwrap());
        assert_eq!(known.first(), Some(&IpAddr::from([192, 0, 2, 3])));
        assert_eq!(
            client_network("2001:db8::1:2:3:4".parse().unwrap()),
            "2001:db8::".parse::<IpAddr>().unwrap()
        );
    }
}
