//! The existing interface of a host that is being enrolled.
//!
//! Owns the reading of the interface, on a thread that may block. It must not change the interface.

use wgctl::device::kernel::Kernel;
use wgctl::device::userspace::Userspace;
use wgctl::device::{Backend as _, Device};
use wgctl::protocol::v1::Terms;

use super::error::Error;
use crate::config::Backend;

/// Reads the interface. A failure to read it matters only for an adoption; otherwise the agent reports it later.
pub(super) async fn read_interface(backend: Backend, terms: &Terms, import: bool) -> Result<Option<Device>, Error> {
    let name = terms.recorded.interface.name.clone();
    let read = blocking(move || match backend {
        Backend::Kernel => Kernel::open()?.read(&name),
        Backend::Userspace => Userspace::new().read(&name),
    });
    match read.await {
        Err(_) if !terms.adopt && !import => Ok(None),
        read => read,
    }
}

/// Runs a call on a separate thread, because kernel calls block and netlink's runtime cannot be dropped inside
/// another one.
pub(super) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, wgctl::device::Error> + Send + 'static,
) -> Result<T, Error> {
    let called = tokio::task::spawn_blocking(call).await;
    Ok(called.map_err(|error| Error::Interrupted(error.to_string()))??)
}
