//! The peers of the interface: the goal for each, the difference to what the kernel has, and the sending.

pub(super) mod changed_peers;
pub(super) mod difference;
pub(super) mod goal;
pub(super) mod index;
pub(super) mod send;
