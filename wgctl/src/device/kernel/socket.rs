//! A blocking netlink socket for any protocol: sends a request and waits for its response, within a time limit.
//!
//! Owns the socket's options, sequence numbers, timeouts and the wiping of its buffer, which has contained
//! keys. It must not know the meaning of the messages; `conversation` recognizes the end of a response.

use std::io;
use std::time::Duration;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use netlink_sys::SocketAddr;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, setsockopt, sockopt};
use nix::sys::time::TimeVal;
use zeroize::{Zeroize as _, Zeroizing};

use super::conversation::{Conversation, Failure, Progress};

/// The time limit for one response from the kernel, in seconds. Half a minute is far longer than the slowest
/// measured message needs (thousands of peers on an emulated CPU), but it still ends the wait.
const TIMEOUT_SECONDS: i64 = 30;
/// The number of attempts at a conversation for which the kernel runs out of buffer space (`ENOBUFS`).
const ATTEMPTS: u32 = 4;
/// The size of the receive buffer in bytes. The kernel fills at most 32 KiB (`netlink_dump`,
/// `net/netlink/af_netlink.c`), but an error may echo a request of up to 64 KiB.
const RECEIVE_BYTES: usize = 128 * 1024;
/// The number of bytes that the kernel may queue for the socket.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;
/// `sizeof(struct nlmsghdr)` (`linux/netlink.h`).
const HEADER_LEN: usize = 16;

/// A netlink socket whose calls block. It is used from a single thread.
pub struct Socket {
    inner: netlink_sys::Socket,
    protocol: isize,
    sequence: u32,
    buffer: Zeroizing<Vec<u8>>,
}

/// A message to send: its type, the flags in addition to `NLM_F_REQUEST`, and the payload after the netlink header.
pub struct Request {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`. `NLM_F_REQUEST` and the flags of the call are added.
    pub flags: u16,
    /// The payload. It is wiped when dropped.
    pub payload: Zeroizing<Vec<u8>>,
}

impl Request {
    /// Creates a request without flags of its own.
    #[must_use]
    pub fn new(kind: u16, payload: Vec<u8>) -> Self {
        Self {
            kind,
            flags: 0,
            payload: Zeroizing::new(payload),
        }
    }
}

impl Socket {
    /// Opens a socket for `protocol` (`NETLINK_GENERIC`, `NETLINK_NETFILTER`, …) in the network
    /// namespace of the calling thread.
    pub fn open(protocol: isize) -> io::Result<Self> {
        Ok(Self {
            inner: connect(protocol)?,
            protocol,
            sequence: 0,
            buffer: Zeroizing::new(vec![0; RECEIVE_BYTES]),
        })
    }

    /// Sends one request and waits for its acknowledgement. `on_part` receives the messages before it.
    pub fn request(
        &mut self,
        request: &Request,
        mut on_part: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.again_when_overrun(|socket| {
            let sequence = socket.next_sequence(1);
            let frame = frame(request, NLM_F_ACK, sequence);
            socket
                .converse(&frame, Conversation::acknowledged(sequence, 1), &mut on_part)
                .map(drop)
        })
    }

    /// Sends one dump request; `on_part` receives the parts. Returns true if the dump is coherent: the kernel
    /// reports if its state has changed during the dump (`NLM_F_DUMP_INTR`).
    ///
    /// After `ENOBUFS`, the dump is repeated, so `on_part` must accept the same part twice.
    pub fn dump(
        &mut self,
        request: &Request,
        mut on_part: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<bool, Failure> {
        self.again_when_overrun(|socket| {
            let sequence = socket.next_sequence(1);
            let frame = frame(request, NLM_F_DUMP, sequence);
            let ended = socket.converse(&frame, Conversation::dump(sequence), &mut on_part)?;
            Ok(!ended.interrupted())
        })
    }

    /// Sends several messages as one batch, between the two messages that open and close it
    /// (`NFNL_MSG_BATCH_BEGIN`), and waits until each has been acknowledged.
    pub fn batch(&mut self, open: &Request, messages: &[Request], close: &Request) -> Result<(), Failure> {
        let count =
            u32::try_from(messages.len()).map_err(|_| Failure::Malformed("the batch is too large".to_owned()))?;
        self.again_when_overrun(|socket| {
            let first = socket.next_sequence(count.saturating_add(2));
            let mut sequence = first;
            let mut bytes = frame(open, 0, sequence);
            for message in messages {
                sequence = sequence.wrapping_add(1);
                bytes.extend_from_slice(&frame(message, NLM_F_ACK, sequence));
            }
            bytes.extend_from_slice(&frame(close, 0, sequence.wrapping_add(1)));
            let conversation = Conversation::acknowledged(first, count);
            socket.converse(&bytes, conversation, &mut |_| Ok(())).map(drop)
        })
    }

    /// Reserves `count` sequence numbers and returns the first.
    fn next_sequence(&mut self, count: u32) -> u32 {
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(count);
        first
    }

    fn again_when_overrun<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut outcome = attempt(self);
        for _ in 1..ATTEMPTS {
            if !matches!(outcome, Err(Failure::Overrun)) {
                break;
            }
            self.renew()?;
            outcome = attempt(self);
        }
        if !matches!(outcome, Ok(_) | Err(Failure::Refused { .. })) {
            self.renew()?;
        }
        outcome
    }

    /// Replaces the socket. The kernel may still be busy with a conversation that has been abandoned, and
    /// would then refuse the next dump (`EBUSY`) on the same socket.
    fn renew(&mut self) -> io::Result<()> {
        self.inner = connect(self.protocol)?;
        Ok(())
    }

    fn converse(
        &mut self,
        bytes: &[u8],
        mut conversation: Conversation,
        on_part: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<Conversation, Failure> {
        self.send(bytes)?;
        loop {
            let length = self.receive()?;
            let Some(datagram) = self.buffer.get_mut(..length) else {
                return Err(Failure::Malformed(format!("a datagram of {length} bytes")));
            };
            let progress = conversation.feed(datagram, on_part);
            datagram.zeroize();
            if progress? == Progress::Ended {
                return Ok(conversation);
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> Result<(), Failure> {
        let sent = uninterrupted(|| self.inner.send(bytes, 0))?;
        if sent != bytes.len() {
            return Err(Failure::Malformed(format!("{sent} of {} bytes sent", bytes.len())));
        }
        Ok(())
    }

    /// Receives one datagram into the buffer and returns its true length.
    fn receive(&mut self) -> Result<usize, Failure> {
        let Self { inner, buffer, .. } = self;
        uninterrupted(|| {
            let mut window = buffer.as_mut_slice();
            inner.recv(&mut window, MsgFlags::MSG_TRUNC.bits())
        })
    }
}

/// Opens a socket with its options, bound and connected to the kernel.
fn connect(protocol: isize) -> io::Result<netlink_sys::Socket> {
    let mut inner = netlink_sys::Socket::new(protocol)?;
    inner.bind_auto()?;
    inner.connect(&SocketAddr::new(0, 0))?;
    inner.set_ext_ack(true)?;
    inner.set_cap_ack(true)?;
    setsockopt(&inner, sockopt::ReceiveTimeout, &TimeVal::new(TIMEOUT_SECONDS, 0))?;
    setsockopt(&inner, sockopt::SendTimeout, &TimeVal::new(TIMEOUT_SECONDS, 0))?;
    // Exceeding `net.core.rmem_max` requires CAP_NET_ADMIN. A smaller queue is slower but still correct.
    if setsockopt(&inner, sockopt::RcvBufForce, &QUEUE_BYTES).is_err() {
        setsockopt(&inner, sockopt::RcvBuf, &QUEUE_BYTES)?;
    }
    Ok(inner)
}

/// Repeats a system call that was interrupted by a signal, and distinguishes a lost message from a timeout.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> Result<T, Failure> {
    loop {
        match call() {
            Ok(value) => return Ok(value),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => return Err(Failure::Overrun),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let limit = Duration::from_secs(TIMEOUT_SECONDS.unsigned_abs());
                let message = format!("the kernel did not respond within {limit:?}");
                return Err(Failure::Io(io::Error::new(io::ErrorKind::TimedOut, message)));
            }
            Err(error) => return Err(Failure::Io(error)),
        }
    }
}

/// Encodes a request as the kernel reads it: header, payload, and padding to four bytes.
fn frame(request: &Request, flags: u16, sequence: u32) -> Zeroizing<Vec<u8>> {
    let length = HEADER_LEN + request.payload.len();
    let padded = length.next_multiple_of(4);
    let mut bytes = Zeroizing::new(Vec::with_capacity(padded));
    // A payload is at most about 64 KiB long, so its length fits.
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    bytes.extend_from_slice(&request.kind.to_ne_bytes());
    bytes.extend_from_slice(&(request.flags | flags | NLM_F_REQUEST).to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&0u32.to_ne_bytes());
    bytes.extend_from_slice(&request.payload);
    bytes.resize(padded, 0);
    bytes
}
