//! The interface to everything that holds WireGuard interfaces, and its errors.
//!
//! Owns the [`Backend`] trait and the error texts, which name the next step. It must not know any one
//! backend.

use super::model::Device;
use super::plan::Plan;
use crate::name::InterfaceName;

/// The error of a backend. The message names the interface and the next step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no interface of that name.
    #[error("there is no WireGuard interface {0}")]
    NoInterface(InterfaceName),
    /// No userspace process has an interface of that name.
    #[error(
        "no userspace WireGuard has the interface {0}: start it with `wireguard-go {0}`, the agent takes it up then"
    )]
    NoUserspace(InterfaceName),
    /// An interface of that name exists and is of another kind.
    #[error(
        "interface {0} exists and is not a WireGuard interface: choose another name for the server's interface, or remove it"
    )]
    NotWireguard(InterfaceName),
    /// The kernel knows no WireGuard.
    #[error(
        "this kernel has no WireGuard: install a kernel with the module `wireguard` (every Debian and Ubuntu kernel has it; \
         in a container, load it on the host with `modprobe wireguard`), or run wireguard-go and set `backend = \"userspace\"`"
    )]
    NoWireguard,
    /// CAP_NET_ADMIN is missing.
    #[error(
        "no permission to change network interfaces: CAP_NET_ADMIN is needed (run as root, or as a unit with AmbientCapabilities=CAP_NET_ADMIN)"
    )]
    NoPermission,
    /// The kernel refused a request.
    #[error("{what}: {message}")]
    Refused {
        /// The request.
        what: String,
        /// The kernel's words (extended ACK) or the errno's.
        message: String,
        /// The errno, positive (`EADDRINUSE`, …).
        errno: i32,
    },
    /// The conversation with the backend failed.
    #[error("{what}: {source}")]
    Io {
        /// The request.
        what: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The backend answered something that makes no sense.
    #[error("{what}: unexpected answer: {message}")]
    Protocol {
        /// The request.
        what: String,
        /// The answer.
        message: String,
    },
}

/// Something that holds WireGuard interfaces: the kernel, a userspace process, a model in memory.
///
/// Calls block; an implementation is used from one thread.
pub trait Backend: Send {
    /// Everything about the interface. `Ok(None)` when there is none of that name.
    fn read(&mut self, interface: &InterfaceName) -> Result<Option<Device>, Error>;

    /// Carries the plan out, in its order. Not atomic: after an error, read again and plan again.
    fn apply(&mut self, interface: &InterfaceName, plan: &Plan) -> Result<(), Error>;
}
