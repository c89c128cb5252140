//! The memory that request bodies may use while they are received.
//!
//! Owns the limit on their total and on each caller's share: the holder of one agent token with many connections must
//! not exhaust the memory that other callers need. The first 16 KiB of a body are not counted, because the limit on
//! connections also limits them. Small bodies are therefore always accepted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;

/// The number of bytes of each body that are not counted. Nearly all bodies are shorter.
const SMALL: usize = 16 << 10;

/// The budget shared by all request bodies in memory.
pub(crate) struct BodyBudget {
    most: usize,
    most_of_one: usize,
    held: Mutex<BudgetUse>,
}

#[derive(Default)]
struct BudgetUse {
    all: usize,
    by_caller: HashMap<Arc<str>, usize>,
}

impl BodyBudget {
    /// Creates the budget. `longest` is the maximum length of one body, in bytes. Eight such bodies fit at once, two
    /// per caller.
    pub(crate) fn new(longest: usize) -> Arc<Self> {
        Arc::new(Self {
            most: longest.saturating_mul(8),
            most_of_one: longest.saturating_mul(2),
            held: Mutex::default(),
        })
    }

    fn held(&self) -> MutexGuard<'_, BudgetUse> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts an empty body for `caller`.
    pub(crate) fn begin(self: &Arc<Self>, caller: Arc<str>) -> BufferedBody {
        BufferedBody {
            bodies: Arc::clone(self),
            caller,
            counted: 0,
            content: Vec::new(),
        }
    }
}

/// A body in memory. It counts against the budget until it is dropped.
pub(crate) struct BufferedBody {
    bodies: Arc<BodyBudget>,
    caller: Arc<str>,
    counted: usize,
    content: Vec<u8>,
}

impl BufferedBody {
    /// Appends `piece`. Returns false if the budget has no room for it.
    pub(crate) fn take(&mut self, piece: &Bytes) -> bool {
        let length = self.content.len() + piece.len();
        let more = length.saturating_sub(SMALL) - self.counted;
        if more > 0 && !self.count(more) {
            return false;
        }
        self.content.extend_from_slice(piece);
        true
    }

    fn count(&mut self, more: usize) -> bool {
        let mut held = self.bodies.held();
        let own = held.by_caller.get(&self.caller).copied().unwrap_or_default();
        if held.all + more > self.bodies.most || own + more > self.bodies.most_of_one {
            return false;
        }
        held.all += more;
        held.by_caller.insert(Arc::clone(&self.caller), own + more);
        drop(held);
        self.counted += more;
        true
    }

    /// Frees the bytes but keeps their share of the budget, for the value that was parsed from them.
    pub(crate) fn forget_content(&mut self) {
        self.content = Vec::new();
    }

    /// Returns the number of bytes received.
    pub(crate) const fn len(&self) -> usize {
        self.content.len()
    }

    /// Returns the bytes received.
    pub(crate) fn content(&self) -> &[u8] {
        &self.content
    }
}

impl Drop for BufferedBody {
    fn drop(&mut self) {
        if self.counted == 0 {
            return;
        }
        let mut held = self.bodies.held();
        held.all -= self.counted;
        if let Some(own) = held.by_caller.get_mut(&self.caller) {
            *own -= self.counted;
            if *own == 0 {
                held.by_caller.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: usize = 1 << 20;

    fn piece(length: usize) -> Bytes {
        vec![b' '; length].into()
    }

    #[test]
    fn each_caller_is_limited_to_its_share_and_all_callers_to_the_total() {
        let bodies = BodyBudget::new(LONGEST);
        let mut kept = Vec::new();
        let mut come = |who: &str, length: usize| {
            let mut body = bodies.begin(who.into());
            let taken = body.take(&piece(length));
            kept.push(body);
            taken
        };
        assert!(come("a", LONGEST) && come("a", LONGEST));
        assert!(!come("a", LONGEST / 2));
        assert!(come("a", SMALL), "a small body is always accepted");
        for who in ["b", "c", "d"] {
            assert!(come(who, LONGEST) && come(who, LONGEST));
        }
        // The uncounted bytes of each body leave some room, but not enough.
        assert!(!come("e", LONGEST));
        kept.clear();
        assert!(bodies.held().all == 0 && bodies.held().by_caller.is_empty());
    }

    #[test]
    fn a_body_counts_against_the_budget_as_it_arrives() {
        let bodies = BodyBudget::new(LONGEST);
        let mut body = bodies.begin("a".into());
        for _ in 0..4 {
            assert!(body.take(&piece(SMALL)));
        }
        assert_eq!((body.len(), bodies.held().all), (4 * SMALL, 3 * SMALL));
        drop(body);
        assert_eq!(bodies.held().all, 0);
    }
}
