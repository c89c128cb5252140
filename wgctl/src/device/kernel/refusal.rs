//! The conversion of a failed conversation with the kernel into a device error.
//!
//! Owns the meaning of the errnos that all netlink families share. It must not know the errnos of a single family.

use nix::errno::Errno;

use super::conversation::Failure;
use crate::device::backend::Error;

/// Converts a failed conversation into a device error.
#[must_use]
pub fn refused(failure: Failure, what: impl FnOnce() -> String) -> Error {
    match failure {
        Failure::Refused { errno, .. } if errno == Errno::EPERM as i32 => Error::NoPermission,
        Failure::Refused { errno, message } => Error::Refused {
            what: what(),
            message,
            errno,
        },
        Failure::Io(source) => Error::Io { what: what(), source },
        Failure::Overrun => Error::Io {
            what: what(),
            source: Errno::ENOBUFS.into(),
        },
        Failure::Malformed(message) => Error::Protocol { what: what(), message },
    }
}
