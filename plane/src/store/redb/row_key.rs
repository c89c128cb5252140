//! The keys of rows: byte strings that sort in the order in which the rows are read.
//!
//! Owns the encoding. Numbers are big-endian. A server's id is followed by a zero byte, which no id contains, so that
//! the rows of different servers are never interleaved.

use wgctl::ServerId;

use super::rows::Span;

/// Returns the key prefix of a server's rows.
pub(super) fn server(id: &ServerId) -> Vec<u8> {
    let mut key = Vec::with_capacity(id.as_str().len() + 18);
    key.extend_from_slice(id.as_str().as_bytes());
    key.push(0);
    key
}

/// Returns the key of a server's row: the server's prefix, then `rest`.
pub(super) fn of(id: &ServerId, rest: &[u8]) -> Vec<u8> {
    let mut key = server(id);
    key.extend_from_slice(rest);
    key
}

/// Returns the key of a server's numbered row.
pub(super) fn numbered(id: &ServerId, number: u64) -> Vec<u8> {
    of(id, &number.to_be_bytes())
}

/// Returns the span of all rows of a server.
pub(in crate::store) fn all(id: &ServerId) -> Span {
    Span::under(&server(id))
}

/// Returns the last `N` bytes of a key; a shorter key is padded with leading zeros.
pub(in crate::store) fn tail<const N: usize>(key: &[u8]) -> [u8; N] {
    let mut tail = [0; N];
    for (to, from) in tail.iter_mut().rev().zip(key.iter().rev()) {
        *to = *from;
    }
    tail
}
