//! The kernel's notifications about the interface, through which drift is detected immediately.
//!
//! Owns a thread that listens for changes to links, addresses, routes and nftables, selects those that concern
//! the agent's interface, and wakes the reconciler at most once per second. The reconciler's round determines
//! what happened, so a lost or extra notification does no harm. The kernel sends no notifications about peers;
//! their drift is detected in the regular rounds. It must not change anything.

use std::io;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_sys::Socket;
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::MsgFlags;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::packet_route::route::{RouteAttribute, RouteHeader, RouteMessage};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use crate::host;
use crate::reconcile::{Input, Target};

/// `RTNLGRP_LINK`, `_IPV4_IFADDR`, `_IPV4_ROUTE`, `_IPV6_IFADDR`, `_IPV6_ROUTE` (`linux/rtnetlink.h`).
const ROUTE_GROUPS: [u32; 5] = [1, 5, 7, 9, 11];
/// `NFNLGRP_NFTABLES` (`linux/netfilter/nfnetlink.h`).
const NFTABLES_GROUP: u32 = 7;
/// `RTM_NEWLINK`, `RTM_DELLINK`, `RTM_NEWADDR`, `RTM_DELADDR`, `RTM_DELROUTE`. The many other messages on a
/// router are not even parsed.
const KINDS: [u16; 5] = [16, 17, 20, 21, 25];
/// The size of the receive buffer in bytes. No message that concerns the interface is longer.
const RECEIVE_BYTES: usize = 32 * 1024;
/// `sizeof(struct nlmsghdr)`.
const HEADER_LEN: usize = 16;
/// The minimum interval between two wake-ups of the reconciler.
const PACE: Duration = Duration::from_secs(1);
/// The maximum time for which the thread may outlive the reconciler.
const OUTLIVE: Duration = Duration::from_secs(60);

/// A function that returns whether a datagram concerns the target.
type About = fn(&Target, &[u8]) -> bool;

/// The open sockets. No event that occurs after they are opened is missed.
pub struct Watch {
    route: Socket,
    nftables: Option<Socket>,
}

impl Watch {
    /// Opens the sockets in the network namespace of the calling thread. If the kernel has no nftables, the
    /// nftables socket is omitted.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            route: listen(NETLINK_ROUTE, &ROUTE_GROUPS)?,
            nftables: listen(NETLINK_NETFILTER, &[NFTABLES_GROUP]).ok(),
        })
    }

    /// Wakes the reconciler whenever an event concerns the target, until the reconciler ends.
    pub fn spawn(self, target: watch::Receiver<Option<Target>>, inbox: UnboundedSender<Input>) -> io::Result<()> {
        let thread = std::thread::Builder::new().name("watch".to_owned());
        thread.spawn(move || {
            if let Err(error) = self.run(&target, &inbox) {
                tracing::warn!(
                    "the kernel's notifications have stopped ({error}): only the regular checks will detect drift"
                );
            }
        })?;
        Ok(())
    }

    fn run(self, target: &watch::Receiver<Option<Target>>, inbox: &UnboundedSender<Input>) -> io::Result<()> {
        let mut pace = Pace::default();
        let mut buffer = vec![0; RECEIVE_BYTES];
        while !inbox.is_closed() {
            self.wait(pace.patience(Instant::now()).unwrap_or(OUTLIVE))?;
            let target = target.borrow().clone();
            for (socket, about) in self.sockets() {
                pace.stirred |= drain(socket, &mut buffer, |datagram| {
                    target.as_ref().is_some_and(|target| about(target, datagram))
                })?;
            }
            if pace.take(Instant::now()) {
                // An error means that the reconciler has ended; the loop condition detects that.
                let _ = inbox.send(Input::InterfaceChanged);
            }
        }
        Ok(())
    }

    fn sockets(&self) -> impl Iterator<Item = (&Socket, About)> {
        let route: About = is_about;
        let nftables = self.nftables.as_ref().map(|socket| (socket, names_our_table as _));
        [(&self.route, route)].into_iter().chain(nftables)
    }

    fn wait(&self, patience: Duration) -> io::Result<()> {
        let mut sockets: Vec<PollFd<'_>> = self
            .sockets()
            .map(|(socket, _)| PollFd::new(socket.as_fd(), PollFlags::POLLIN))
            .collect();
        // Add a millisecond: the timeout is rounded down, and a wait that is too short would make the loop spin.
        let patience = patience.saturating_add(Duration::from_millis(1));
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        match poll(&mut sockets, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn listen(protocol: isize, groups: &[u32]) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    for group in groups {
        socket.add_membership(*group)?;
    }
    socket.set_non_blocking(true)?;
    Ok(socket)
}

/// Reads all pending datagrams. Returns true if one of them concerned the target, or if some were lost.
fn drain(socket: &Socket, buffer: &mut [u8], mut about: impl FnMut(&[u8]) -> bool) -> io::Result<bool> {
    let mut stirred = false;
    loop {
        let received = {
            let mut window = &mut *buffer;
            socket.recv(&mut window, MsgFlags::MSG_DONTWAIT.bits())
        };
        match received {
            Ok(length) => stirred |= buffer.get(..length).is_some_and(&mut about),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(stirred),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The kernel dropped notifications: assume that one of them concerned the target.
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => stirred = true,
            Err(error) => return Err(error),
        }
    }
}

/// The rate at which the reconciler is woken: immediately the first time, then at most once per [`PACE`].
#[derive(Debug, Default)]
struct Pace {
    stirred: bool,
    last: Option<Instant>,
}

impl Pace {
    fn patience(&self, now: Instant) -> Option<Duration> {
        let left = |last| PACE.saturating_sub(now.saturating_duration_since(last));
        self.stirred.then(|| self.last.map_or(Duration::ZERO, left))
    }

    fn take(&mut self, now: Instant) -> bool {
        let due = self.patience(now).is_some_and(|left| left.is_zero());
        if due {
            *self = Self {
                stirred: false,
                last: Some(now),
            };
        }
        due
    }
}

/// Returns whether an rtnetlink datagram concerns the target.
fn is_about(target: &Target, mut datagram: &[u8]) -> bool {
    while let Some(length) = message_length(datagram) {
        let Some(message) = datagram.get(..length) else {
            return false;
        };
        if message_concerns(target, message) {
            return true;
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    false
}

fn message_length(datagram: &[u8]) -> Option<usize> {
    let length = u32::from_ne_bytes(datagram.first_chunk().copied()?);
    usize::try_from(length).ok().filter(|length| *length >= HEADER_LEN)
}

fn message_concerns(target: &Target, message: &[u8]) -> bool {
    let kind = message.get(4..).and_then(|rest| rest.first_chunk().copied());
    if !kind.is_some_and(|kind| KINDS.contains(&u16::from_ne_bytes(kind))) {
        return false;
    }
    let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(message) else {
        return false;
    };
    let NetlinkPayload::InnerMessage(message) = message.payload else {
        return false;
    };
    match message {
        RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link) => is_the_link(target, &link),
        RouteNetlinkMessage::NewAddress(address) | RouteNetlinkMessage::DelAddress(address) => {
            Some(address.header.index) == target.index
        }
        RouteNetlinkMessage::DelRoute(route) => is_our_route(target, &route),
        _ => false,
    }
}

fn is_the_link(target: &Target, link: &LinkMessage) -> bool {
    let named =
        |attribute: &LinkAttribute| matches!(attribute, LinkAttribute::IfName(name) if name == target.name.as_str());
    Some(link.header.index) == target.index || link.attributes.iter().any(named)
}

fn is_our_route(target: &Target, route: &RouteMessage) -> bool {
    let over = |index| route.attributes.contains(&RouteAttribute::Oif(index));
    route.header.protocol == host::ROUTE_PROTOCOL
        && route.header.table == RouteHeader::RT_TABLE_MAIN
        && target.index.is_some_and(over)
}

/// Returns whether an nftables datagram names the agent's table. Other tables may change often, so datagrams are
/// searched without being parsed.
fn names_our_table(target: &Target, datagram: &[u8]) -> bool {
    let mut name = host::table(&target.name).into_bytes();
    name.push(0);
    datagram.windows(name.len()).any(|window| window == name)
}

#[cfg(test)]
mod tests;
