//! The Sentrazone library that the plane, the agent, `wgctl` and the tests share.
//!
//! Owns the value types (keys, addresses, names), the REST and agent protocol types, the typed HTTP client,
//! client configurations, the backup format, the WireGuard device (model, diff, backends), and the
//! process-level parts of all programs: logging, metrics and prompts for secrets. It must not know about
//! the plane's storage or the agent's loop. The netlink and userspace backends are behind the features `kernel`
//! and `userspace`, so that the plane links neither.

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
pub mod program;
pub mod protocol;
#[cfg(feature = "openapi")]
pub mod schema;
pub mod time;

pub use key::{PresharedKey, PrivateKey, PublicKey};
pub use name::{PeerId, PeerName, ServerId};
pub use pin::Pin;
pub use time::{Clock, Timestamp};
