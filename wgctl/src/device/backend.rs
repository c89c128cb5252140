//! The trait for backends that provide WireGuard interfaces, and its errors.
//!
//! Owns the [`Backend`] trait and the error messages, which name the next step. It must not depend on any
//! particular backend.

use super::model::Device;
use super::plan::Plan;
use crate::name::InterfaceName;

/// An error from a backend. The message names the interface and the next step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no interface with this name.
    #[error("there is no WireGuard interface {0}")]
    NoInterface(InterfaceName),
    /// No userspace process has an interface with this name.
    #[error(
        "no userspace WireGuard has the interface {0}: start it with `wireguard-go {0}`, and the agent will use it"
    )]
    NoUserspace(InterfaceName),
    /// An interface with this name exists but is of another kind.
    #[error(
        "interface {0} exists and is not a WireGuard interface: choose another name for the server's interface, or remove it"
    )]
    NotWireguard(InterfaceName),
    /// The kernel does not support WireGuard.
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
        /// The kernel's own message (extended ACK), or the text of the errno.
        message: String,
        /// The errno, positive (`EADDRINUSE`, …).
        errno: i32,
    },
    /// Communication with the backend failed.
    #[error("{what}: {source}")]
    Io {
        /// The request.
        what: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The backend returned an unexpected response.
    #[error("{what}: unexpected response: {message}")]
    Protocol {
        /// The request.
        what: String,
        /// A description of the response.
        message: String,
    },
}

/// A backend that provides WireGuard interfaces: the kernel, a userspace process, or a model in memory.
///
/// Calls block. An implementation is used from a single thread.
pub trait Backend: Send {
    /// Reads everything about the interface. Returns `Ok(None)` if there is none with this name.
    fn read(&mut self, interface: &InterfaceName) -> Result<Option<Device>, Error>;

    /// Applies the steps of the plan in order. This is not atomic: after an error, read the interface and plan again.
    fn apply(&mut self, interface: &InterfaceName, plan: &Plan) -> Result<(), Error>;
}
