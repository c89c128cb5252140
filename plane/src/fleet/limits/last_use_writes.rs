//! The limit on how often the last use of an API token is written.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use wgctl::Timestamp;
use wgctl::name::TokenId;

/// The shortest time between two writes for one token.
const NOTED_EVERY: Duration = Duration::from_secs(60);

/// The time at which this process last wrote a use of each token. It serves only to limit how often
/// uses are written.
#[derive(Default)]
pub(crate) struct TokenUses(Mutex<HashMap<TokenId, Timestamp>>);

impl TokenUses {
    /// Returns whether to write a use now. If so, the next write is due a minute later.
    pub(crate) fn due(&self, id: TokenId, now: Timestamp) -> bool {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that has been set back must not prevent uses from being recorded.
        let due = noted
            .get(&id)
            .is_none_or(|last| now < *last || now.since(*last) >= NOTED_EVERY);
        if due {
            noted.insert(id, now);
        }
        due
    }

    /// Forgets a token that has been removed.
    pub(crate) fn forget(&self, id: &TokenId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}
