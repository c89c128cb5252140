//! Tools for the end-to-end tests: namespaces, processes, a small internet, and waiting.
//!
//! Owns starting and stopping the real programs, and querying independent tools (`wg`, `ip`, `ping`)
//! for the result. It must not assert anything about the product: the tests do that. The exception
//! is `crash`, because its tests differ only in the kernel that they use.

mod documents;
mod faults;
pub mod herd;
mod hosts;
mod observe;
pub mod reference_client;
pub mod wait;

pub use documents::{manual, reference, settings};
pub use faults::{chance, clock, counts, crash};
pub use hosts::{device, installed, lab, loopback, machine, netns, process, wireguard_go};
pub use observe::{figures, interface_state, resources, sessions, statistics, trace, traffic};
