//! The interface whose kernel notifications matter to the reconciler.
//!
//! Plain data: the reconciler publishes it, `kernel_events` filters by it.

use wgctl::name::InterfaceName;

/// The interface to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The interface's name.
    pub name: InterfaceName,
    /// The link's index; none until the link was seen.
    pub index: Option<u32>,
}
