//! Drift on the interface: its detection, and the decision on how to handle it.

pub(super) mod detection;
pub(super) mod repair;
pub(super) mod superseded;
