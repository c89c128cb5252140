//! A netlink response as a pure state machine, which is fed datagrams and reports when the response has ended.
//!
//! Owns the matching of sequence numbers, acknowledgements, errors with the kernel's own message (extended
//! ACK), the end of a dump, and the detection of an interrupted dump. It must not do I/O.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN, NetlinkBuffer,
    NlasIterator, parse_string,
};

/// `sizeof(struct nlmsghdr)`.
const HEADER_LEN: usize = 16;
/// `NLMSGERR_ATTR_MSG` (`linux/netlink.h`).
const ERROR_MESSAGE: u16 = 1;

/// An error in a conversation with the kernel.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The kernel refused the request.
    #[error("{message}")]
    Refused {
        /// The errno, positive.
        errno: i32,
        /// The kernel's own message if there is one, otherwise the text of the errno.
        message: String,
    },
    /// Messages were lost because a buffer was full: repeat the request.
    #[error("the kernel ran out of buffer space for its response")]
    Overrun,
    /// The socket failed, or the response took too long.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The response is malformed.
    #[error("{0}")]
    Malformed(String),
}

/// The progress of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More messages are expected.
    More,
    /// The last message has been received.
    Ended,
}

/// The response to one request, one dump or one batch.
#[derive(Debug, Clone)]
pub struct Conversation {
    first: u32,
    count: u32,
    /// The number of outstanding acknowledgements; `None` for a dump, which ends with `NLMSG_DONE`.
    acknowledgements: Option<u32>,
    interrupted: bool,
}

impl Conversation {
    /// Creates the state for a dump whose request has this sequence number.
    #[must_use]
    pub const fn dump(sequence: u32) -> Self {
        Self {
            first: sequence,
            count: 1,
            acknowledgements: None,
            interrupted: false,
        }
    }

    /// Creates the state for `count` acknowledgements of messages numbered from `first`. A batch has one
    /// message before and one after them, and an error may belong to one of those two as well.
    #[must_use]
    pub const fn acknowledged(first: u32, count: u32) -> Self {
        Self {
            first,
            count: count.saturating_add(2),
            acknowledgements: Some(count),
            interrupted: false,
        }
    }

    /// Returns true if the kernel's state changed during the dump.
    #[must_use]
    pub const fn interrupted(&self) -> bool {
        self.interrupted
    }

    /// Processes one datagram, which contains one or more messages. Late responses to earlier conversations
    /// are ignored.
    pub fn feed(
        &mut self,
        mut datagram: &[u8],
        on_part: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<Progress, Failure> {
        while !datagram.is_empty() {
            let message = NetlinkBuffer::new_checked(datagram).map_err(malformed)?;
            let length = usize::try_from(message.length()).map_err(|e| Failure::Malformed(e.to_string()))?;
            let ours = message.sequence_number().wrapping_sub(self.first) < self.count;
            if ours && self.take(&message, on_part)? == Progress::Ended {
                return Ok(Progress::Ended);
            }
            datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(Progress::More)
    }

    fn take(
        &mut self,
        message: &NetlinkBuffer<&[u8]>,
        on_part: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<Progress, Failure> {
        self.interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
        match message.message_type() {
            NLMSG_NOOP => Ok(Progress::More),
            NLMSG_OVERRUN => Err(Failure::Overrun),
            NLMSG_ERROR => {
                outcome(message, true)?;
                let left = self.acknowledgements.unwrap_or(1).saturating_sub(1);
                self.acknowledgements = Some(left);
                Ok(if left == 0 { Progress::Ended } else { Progress::More })
            }
            NLMSG_DONE => {
                outcome(message, false)?;
                // A dump may be followed by the acknowledgement of its request.
                Ok(match self.acknowledgements {
                    None => Progress::Ended,
                    Some(_) => Progress::More,
                })
            }
            _ => on_part(message.payload()).map(|()| Progress::More),
        }
    }
}

/// Returns the outcome in an `NLMSG_ERROR` or `NLMSG_DONE`. Its payload is an errno, then (for errors only)
/// the request's header or the whole request, and then attributes with the kernel's own message.
fn outcome(message: &NetlinkBuffer<&[u8]>, is_error: bool) -> Result<(), Failure> {
    let payload = message.payload();
    // Older kernels end a dump without a code.
    let Some((code, rest)) = payload.split_first_chunk::<4>() else {
        return Ok(());
    };
    let code = i32::from_ne_bytes(*code);
    if code >= 0 {
        return Ok(());
    }
    let errno = code.saturating_neg();
    let echoed = match (is_error, message.flags() & NLM_F_CAPPED != 0) {
        (false, _) => 0,
        (true, true) => HEADER_LEN,
        (true, false) => echoed_length(rest),
    };
    let has_words = message.flags() & NLM_F_ACK_TLVS != 0;
    let words = rest.get(echoed..).filter(|_| has_words).and_then(words);
    let message = words.unwrap_or_else(|| io::Error::from_raw_os_error(errno).to_string());
    Err(Failure::Refused { errno, message })
}

/// Returns the length of the request that an error echoes.
fn echoed_length(rest: &[u8]) -> usize {
    let length = rest.first_chunk::<4>().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
    usize::try_from(length).map_or(usize::MAX, |length| length.next_multiple_of(4))
}

/// Finds the kernel's own message among the attributes of an extended ACK.
#[must_use]
pub fn words(attributes: &[u8]) -> Option<String> {
    NlasIterator::new(attributes)
        .filter_map(Result::ok)
        .find(|attribute| attribute.kind() == ERROR_MESSAGE)
        .and_then(|attribute| parse_string(attribute.value()).ok())
}

fn malformed(error: netlink_packet_core::DecodeError) -> Failure {
    Failure::Malformed(error.to_string())
}

#[cfg(test)]
mod tests;
