//! The result of a business rule that changes data.
//!
//! Owns the value for the caller and the audit entries of the change. It must not know how either is stored.

use crate::model::caller::Entry;

/// A change made by a business rule, with its audit entries.
pub(crate) struct Change<T> {
    pub(super) value: T,
    pub(super) audit: Vec<Entry>,
}

impl<T> Change<T> {
    /// Creates a change with one audit entry.
    pub(crate) fn new(value: T, entry: Entry) -> Self {
        Self {
            value,
            audit: vec![entry],
        }
    }

    /// Creates a change with several audit entries.
    pub(crate) const fn all(value: T, audit: Vec<Entry>) -> Self {
        Self { value, audit }
    }

    /// Creates the result of a rule that wrote nothing, because nothing would have changed.
    pub(crate) fn none(value: T) -> Self {
        Self {
            value,
            audit: Vec::new(),
        }
    }
}
