//! Network links over route netlink: finding, creating and deleting them, and bringing them up.
//!
//! Owns the blocking interface to `rtnetlink`, which is asynchronous: its own small runtime, a time limit for
//! every wait, and the meaning of its errors. The agent's code for addresses and routes uses the same
//! [`Route::wait`]. It must not know about WireGuard peers.

use std::future::Future;
use std::io;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use netlink_sys::AsyncSocket as _;
use nix::errno::Errno;
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::{Handle, LinkUnspec, LinkWireguard};
use tokio::runtime::{Builder, Runtime};

use super::conversation;
use super::wireguard::Kernel;
use crate::device::backend::Error;
use crate::name::InterfaceName;

/// The time limit for one request. Deleting a link waits for the kernel's grace periods.
const TIMEOUT: Duration = Duration::from_secs(60);
/// `sizeof(struct nlmsghdr)`: the part of the request that an error echoes if the socket has capped
/// acknowledgements.
const HEADER_LEN: usize = 16;

/// A blocking route netlink client. It is used from one thread that runs no asynchronous code of its own.
pub struct Route {
    /// `None` only while it is being dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

/// A link as the kernel reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its index, by which addresses and routes refer to it.
    pub index: u32,
    /// Its kind, as the kernel calls it (`wireguard`, `dummy`, …); `None` for hardware and loopback.
    pub kind: Option<String>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// True if it is administratively up.
    pub up: bool,
}

impl Link {
    /// Returns true if this is a link of the kernel's own WireGuard.
    #[must_use]
    pub fn is_wireguard(&self) -> bool {
        self.kind.as_deref() == Some("wireguard")
    }
}

impl Route {
    /// Opens a route netlink socket in the network namespace of the calling thread.
    pub fn open() -> Result<Self, Error> {
        let failed = |source| Error::Io {
            what: "opening a route netlink socket".to_owned(),
            source,
        };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = {
            let _inside = runtime.enter();
            let (mut connection, handle, _) = rtnetlink::new_connection().map_err(failed)?;
            let socket = connection.socket_mut().socket_mut();
            socket.set_ext_ack(true).map_err(failed)?;
            socket.set_cap_ack(true).map_err(failed)?;
            runtime.spawn(connection);
            handle
        };
        Ok(Self {
            runtime: Some(runtime),
            handle,
        })
    }

    /// Returns the asynchronous handle, for requests that are then passed to [`Route::wait`].
    #[must_use]
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Waits for a request to complete, within a time limit. `what` describes the request for the error.
    pub fn wait<T>(
        &self,
        what: impl FnOnce() -> String,
        request: impl Future<Output = Result<T, rtnetlink::Error>>,
    ) -> Result<T, Error> {
        let timely = async { tokio::time::timeout(TIMEOUT, request).await };
        let Some(runtime) = &self.runtime else {
            return Err(timed_out(what()));
        };
        match runtime.block_on(timely) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(refused(error, what)),
            Err(_) => Err(timed_out(what())),
        }
    }

    /// Returns the link with this name, or `None` if there is none.
    pub fn link(&self, name: &InterfaceName) -> Result<Option<Link>, Error> {
        let request = self.handle.link().get().match_name(name.to_string()).execute();
        let found = self.wait(|| format!("looking for interface {name}"), async move {
            std::pin::pin!(request).try_next().await
        });
        match found {
            Ok(message) => Ok(message.map(describe)),
            Err(Error::Refused { errno, .. }) if errno == Errno::ENODEV as i32 => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates a WireGuard link that is down and empty. The kernel loads its module for this if it can.
    /// Returns true if the link has been created and false if it already existed. A link of another kind is a
    /// `NotWireguard` error.
    pub fn create_wireguard(&self, name: &InterfaceName) -> Result<bool, Error> {
        if let Some(link) = self.link(name)? {
            return match link.is_wireguard() {
                true => Ok(false),
                false => Err(Error::NotWireguard(name.clone())),
            };
        }
        let message = LinkWireguard::new(name.as_str()).build();
        let request = self.handle.link().add(message).execute();
        match self.wait(|| format!("creating interface {name}"), request) {
            // rtnl_newlink (net/core/rtnetlink.c): "Unknown device type".
            Err(Error::Refused { errno, .. }) if errno == Errno::EOPNOTSUPP as i32 => Err(Error::NoWireguard),
            made => made.map(|()| true),
        }
    }

    /// Deletes a WireGuard link, its peers first (see [`Kernel::flush`]). Succeeds if there is no link with
    /// this name.
    pub fn delete_wireguard(&self, kernel: &mut Kernel, name: &InterfaceName) -> Result<(), Error> {
        let Some(link) = self.link(name)? else {
            return Ok(());
        };
        if !link.is_wireguard() {
            return Err(Error::NotWireguard(name.clone()));
        }
        kernel.flush(name)?;
        let request = self.handle.link().del(link.index).execute();
        self.wait(|| format!("deleting interface {name}"), request)
    }

    /// Sets the MTU in bytes.
    pub fn set_mtu(&self, name: &InterfaceName, index: u32, mtu: u32) -> Result<(), Error> {
        let message = LinkUnspec::new_with_index(index).mtu(mtu).build();
        let request = self.handle.link().set(message).execute();
        self.wait(|| format!("setting MTU {mtu} on {name}"), request)
    }

    /// Brings the link up. WireGuard opens its UDP port at this point.
    pub fn set_up(&self, name: &InterfaceName, index: u32) -> Result<(), Error> {
        let message = LinkUnspec::new_with_index(index).up().build();
        let request = self.handle.link().set(message).execute();
        self.wait(|| format!("bringing up interface {name}"), request)
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        // Dropping a runtime normally would panic inside another runtime, and there is nothing to wait for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn describe(message: LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        kind: None,
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::LinkInfo(parts) => {
                link.kind = parts.into_iter().find_map(|part| match part {
                    LinkInfo::Kind(InfoKind::Other(kind)) => Some(kind),
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    link
}

fn timed_out(what: String) -> Error {
    Error::Io {
        what,
        source: io::ErrorKind::TimedOut.into(),
    }
}

fn refused(error: rtnetlink::Error, what: impl FnOnce() -> String) -> Error {
    match error {
        rtnetlink::Error::NetlinkError(error) => {
            let errno = error.raw_code().saturating_abs();
            let words = error.header.get(HEADER_LEN..).and_then(conversation::words);
            let message = words.unwrap_or_else(|| io::Error::from_raw_os_error(errno).to_string());
            super::refusal::refused(conversation::Failure::Refused { errno, message }, what)
        }
        // The error's own text would contain a whole message.
        rtnetlink::Error::UnexpectedMessage(_) => Error::Protocol {
            what: what(),
            message: "a message of an unexpected type".to_owned(),
        },
        error => Error::Protocol {
            what: what(),
            message: error.to_string(),
        },
    }
}
