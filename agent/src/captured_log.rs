//! The log messages from the current test's thread.
//!
//! Owns the subscriber for the whole test program. It must not be installed for one thread only: `tracing` asks
//! once per call site, on whichever thread arrives first, whether any subscriber is interested, so a per-thread
//! subscriber would miss messages.

use std::cell::RefCell;
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

static SUBSCRIBED: Once = Once::new();

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Starts capturing this thread's messages. Every test that logs a message that another test checks for must call
/// this first: a call site that is reached without a subscriber stays disabled.
pub(crate) fn begin() {
    SUBSCRIBED.call_once(|| tracing::subscriber::set_global_default(Lines).unwrap());
    LINES.take();
}

/// Returns the number of this thread's messages that contain `words`.
pub(crate) fn with(words: &str) -> usize {
    LINES.with_borrow(|lines| lines.iter().filter(|line| line.contains(words)).count())
}

struct Lines;

impl Visit for Lines {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            LINES.with_borrow_mut(|lines| lines.push(format!("{value:?}")));
        }
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut Self);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}
