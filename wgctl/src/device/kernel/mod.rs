//! WireGuard in the Linux kernel, over netlink.
//!
//! Owns the parts: `wireguard` (the module's generic netlink family), its encoding in `codec`, links (create,
//! delete, bring up) in `link`, the socket, and the rules of a conversation in `conversation`. It must not decide what
//! to change.

pub mod codec;
pub mod conversation;
pub mod link;
mod refusal;
pub mod socket;
mod wireguard;

pub use refusal::refused;
pub use wireguard::Kernel;
