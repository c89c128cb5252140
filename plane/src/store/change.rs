//! A change as its rule returns it.
//!
//! Owns the rule's result: the value for the caller, and the entries of the audit log. It must not know how either is
//! kept.

use crate::model::caller::Entry;

/// A change that a rule has made, and its audit entries.
pub(crate) struct Change<T> {
    pub(super) value: T,
    pub(super) audit: Vec<Entry>,
}

impl<T> Change<T> {
    /// A change with one audit entry.
    pub(crate) fn new(value: T, entry: Entry) -> Self {
        Self {
            value,
            audit: vec![entry],
        }
    }

    /// A change with several audit entries.
    pub(crate) const fn all(value: T, audit: Vec<Entry>) -> Self {
        Self { value, audit }
    }

    /// No change: nothing was written, because it was so already.
    pub(crate) fn none(value: T) -> Self {
        Self {
            value,
            audit: Vec::new(),
        }
    }
}
