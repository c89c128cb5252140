//! The interface whose kernel notifications matter to the reconciler.
//!
//! Owns a plain data type: the reconciler publishes it, and `kernel_events` filters by it. It must not contain
//! logic.

use wgctl::name::InterfaceName;

/// The interface to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The name of the interface.
    pub name: InterfaceName,
    /// The index of the link; `None` until the link has been found.
    pub index: Option<u32>,
}
