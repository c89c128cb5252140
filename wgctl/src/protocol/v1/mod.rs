//! Version 1 of the agent protocol. It is frozen: see the parent module.

mod adoption;
mod desired;
mod drift;
mod hello;
mod interface;
mod prekeys;
mod request;
mod sealed;

pub use adoption::{Adopted, AdoptedPeer, Adoption, AdoptionQuery, FoundPeer, Obstacle, Recorded, Terms};
pub use desired::{Applied, Change, Desired, DesiredQuery, Failure};
pub use drift::DriftReport;
pub use hello::{Hello, Welcome};
pub use interface::{Interface, Peer};
pub use prekeys::{Prekey, Prekeys};
pub use request::{Ask, PeerConfiguration, Reply, Request};
pub use sealed::Sealed;

/// The number of this version.
pub const VERSION: u32 = 1;
