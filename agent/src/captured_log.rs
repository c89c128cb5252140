//! What a test's own thread logs.
//!
//! Owns the subscriber of the whole test program, for it is asked once per call site what it wants to
//! hear, and by whichever thread comes by first: one that is some test's alone would not be asked.

use std::cell::RefCell;
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

static SUBSCRIBED: Once = Once::new();

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// From here on what this thread logs is kept. For each test that logs what some test asks for,
/// before it does: a call site that nobody listens to stays deaf.
pub(crate) fn begin() {
    SUBSCRIBED.call_once(|| tracing::subscriber::set_global_default(Lines).unwrap());
    LINES.take();
}

/// How many of this thread's messages have these words.
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
