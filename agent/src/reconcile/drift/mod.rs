//! Drift on the interface: its detection, and the decision what becomes of it.

pub(super) mod detection;
pub(super) mod repair;
pub(super) mod superseded;
