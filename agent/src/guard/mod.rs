//! The guard: what the agent must not do to its host's own network.
//!
//! Owns the judgement, before the kernel is changed, on which addresses and routes of a record would cut the host off
//! from its planes, gateways or resolvers. It judges by route lookups, not by overlapping networks. It must not read or change
//! the host: `host::network` reads, and the reconciler leaves out what is refused.

pub mod judge;
pub mod memory;
pub mod network;
pub mod protected;
pub mod routing;
pub mod state;
#[cfg(test)]
mod tests;

pub use judge::{Judgement, Wanted};
pub use network::Network;
pub use protected::{Protected, Protection, Role};
pub use state::{Guard, Settings};
