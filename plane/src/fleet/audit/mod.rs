//! The audit log: its pages, its verification, and how long its records are kept.

pub(super) mod pages;
pub(super) mod retention;
