//! The limit on how often the use of an API token is written.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use wgctl::Timestamp;
use wgctl::name::TokenId;

/// A use is noted this often at most.
const NOTED_EVERY: Duration = Duration::from_secs(60);

/// When each token's use was last noted by this process: it only bounds how often that is written.
#[derive(Default)]
pub(crate) struct TokenUses(Mutex<HashMap<TokenId, Timestamp>>);

impl TokenUses {
    /// Whether to note a use now; then the next one is a minute away.
    pub(crate) fn due(&self, id: TokenId, now: Timestamp) -> bool {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back must not keep uses from being noted.
        let due = noted
            .get(&id)
            .is_none_or(|last| now < *last || now.since(*last) >= NOTED_EVERY);
        if due {
            noted.insert(id, now);
        }
        due
    }

    /// Forgets a token that was removed.
    pub(crate) fn forget(&self, id: &TokenId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}
