//! The keys of rows: bytes whose order is the order of reading.
//!
//! Owns the encoding. Numbers are big-endian; a server's id ends in a zero byte, which no id holds,
//! so that no server's rows lie among another's.

use wgctl::ServerId;

use super::rows::Span;

/// The beginning of all keys of a server's rows.
pub(super) fn server(id: &ServerId) -> Vec<u8> {
    let mut key = Vec::with_capacity(id.as_str().len() + 18);
    key.extend_from_slice(id.as_str().as_bytes());
    key.push(0);
    key
}

/// A server's row.
pub(super) fn of(id: &ServerId, rest: &[u8]) -> Vec<u8> {
    let mut key = server(id);
    key.extend_from_slice(rest);
    key
}

/// A server's numbered row.
pub(super) fn numbered(id: &ServerId, number: u64) -> Vec<u8> {
    of(id, &number.to_be_bytes())
}

/// All of a server's rows.
pub(crate) fn all(id: &ServerId) -> Span {
    Span::under(&server(id))
}

/// The last `N` bytes of a key; zeros before them where it is shorter.
pub(crate) fn tail<const N: usize>(key: &[u8]) -> [u8; N] {
    let mut tail = [0; N];
    for (to, from) in tail.iter_mut().rev().zip(key.iter().rev()) {
        *to = *from;
    }
    tail
}
