//! The result of a rule that changes something.
//!
//! Owns the value for the caller and the entries of the audit log. It must not know how either is stored.

use crate::model::caller::Entry;

/// A change made by a rule, with its audit entries.
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

    /// No change: nothing was written, because nothing would differ.
    pub(crate) fn none(value: T) -> Self {
        Self {
            value,
            audit: Vec::new(),
        }
    }
}
