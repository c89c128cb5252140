//! Faults, and the choice of their number and timing.

pub mod chance;
pub mod clock;
pub mod counts;
pub mod crash;
