//! A WireGuard interface: its desired state, its actual state, and the smallest change from one to the other.
//!
//! Owns the model and the [`Backend`] trait. `plan` is the pure diff; `kernel`, `userspace` and `memory`
//! apply it. It must not know about the plane, the agent or the protocol.

mod backend;
#[cfg(feature = "kernel")]
pub mod kernel;
#[cfg(any(test, feature = "doubles"))]
pub mod memory;
mod model;
pub mod plan;
#[cfg(feature = "userspace")]
pub mod userspace;

pub use backend::{Backend, Error};
pub use model::{DesiredDevice, DesiredPeer, Device, Peer};
pub use plan::{Plan, Scope};
