//! The audit log: its pages, its verification, and its retention.

pub(super) mod pages;
pub(super) mod retention;
