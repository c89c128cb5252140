//! A conversation with the kernel that failed, as an error of the device.
//!
//! Owns the meaning of errnos that every netlink family shares.

use nix::errno::Errno;

use super::conversation::Failure;
use crate::device::backend::Error;

/// A failed conversation as an error of the device.
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
