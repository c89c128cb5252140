//! Sentrazone's shared library: what plane, agent, command and tests all speak.
//!
//! Owns the value types (keys, addresses, names), the REST and agent protocol types, the typed
//! HTTP client, client configurations, the form of backups, the WireGuard device (model, diff, backends), how our
//! programs log, what they show of themselves and how they ask for secrets.
//! It must not know the plane's storage or the agent's loop. The netlink and userspace backends
//! sit behind the features `kernel` and `userspace`, so that the plane links none of them.

pub mod address;
pub mod api;
#[cfg(feature = "audit")]
pub mod audit;
#[cfg(feature = "backup")]
pub mod backup;
#[cfg(feature = "client")]
pub mod client;
pub mod config;
pub mod device;
pub mod drift;
pub mod key;
pub mod name;
pub mod pin;
pub mod pool;
pub mod program;
pub mod protocol;
#[cfg(feature = "openapi")]
pub mod schema;
pub mod time;

pub use key::{PresharedKey, PrivateKey, PublicKey};
pub use name::{PeerId, PeerName, ServerId};
pub use pin::Pin;
pub use time::{Clock, Timestamp};
