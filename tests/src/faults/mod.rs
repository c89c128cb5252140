//! Faults, and how often and when they come.

pub mod chance;
pub mod clock;
pub mod counts;
pub mod crash;
