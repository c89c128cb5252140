//! The log messages of a test's own thread.
//!
//! Owns the subscriber of the whole test program. `tracing` asks once per call site whether anybody is
//! interested, from whichever thread arrives first, so a subscriber of one thread would miss messages.

use std::cell::RefCell;
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

static SUBSCRIBED: Once = Once::new();

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Starts to keep the messages of this thread. Every test that logs messages which some test asks for must
/// call it first: a call site without a subscriber stays disabled.
pub(crate) fn begin() {
    SUBSCRIBED.call_once(|| tracing::subscriber::set_global_default(Lines).unwrap());
    LINES.take();
}

/// The number of this thread's messages that contain these words.
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
