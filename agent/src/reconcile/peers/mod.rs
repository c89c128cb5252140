//! The peers of the interface: the goal for each, the difference from the kernel's state, and the sending of
//! changes.

pub(super) mod changed_peers;
pub(super) mod difference;
pub(super) mod goal;
pub(super) mod index;
pub(super) mod send;
