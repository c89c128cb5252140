//! The origin of a request: the remote end of its connection, or the caller that a trusted proxy names.
//!
//! Owns reading `X-Forwarded-For`, of which only the entries that configured proxies added are trusted. It
//! must not decide on permissions.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::HeaderMap;
use ipnet::IpNet;

/// The remote end of a connection.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// An address, over TCP.
    Tcp(IpAddr),
    /// A local user, over the local socket: the user's name, or the uid in digits.
    Local(Arc<str>),
}

/// The caller's address; `None` over the local socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallerAddress(pub(crate) Option<IpAddr>);

impl Origin {
    /// Returns the caller's address: the TCP peer's or, if that is a trusted proxy, the rightmost untrusted entry
    /// of `X-Forwarded-For`. The caller may have written everything to the left of it.
    pub(crate) fn caller(&self, headers: &HeaderMap, trusted: &[IpNet]) -> CallerAddress {
        let Self::Tcp(peer) = self else {
            return CallerAddress(None);
        };
        let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
        let mut caller = peer.to_canonical();
        // Split as bytes, not as text: an invalid entry further left must not invalidate the proxy's own entry.
        let entries: Vec<&[u8]> = headers
            .get_all("x-forwarded-for")
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .collect();
        for entry in entries.iter().rev() {
            if !is_trusted(&caller) {
                break;
            }
            match forwarded_address(entry) {
                Some(address) => caller = address,
                None => break,
            }
        }
        CallerAddress(Some(caller))
    }
}

/// Parses an address, with or without a port (`192.0.2.1:4711`, `[2001:db8::1]:4711`).
fn forwarded_address(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?.trim();
    let bare = entry.parse().ok();
    let with_port = || entry.parse().ok().map(|socket: std::net::SocketAddr| socket.ip());
    bare.or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            let value = axum::http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append("x-forwarded-for", value);
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let address = Origin::Tcp(peer.parse().unwrap()).caller(&headers, &trusted);
        address.0.unwrap().to_string()
    }

    #[test]
    fn forwarded_addresses_are_accepted_only_from_a_trusted_proxy() {
        assert_eq!(caller("192.0.2.9", &["198.51.100.1"]), "192.0.2.9");
        assert_eq!(caller("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(caller("::ffff:10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(caller("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn entries_to_the_left_of_the_proxys_own_are_ignored() {
        assert_eq!(caller("10.0.0.1", &["1.1.1.1, 198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(caller("10.0.0.1", &["1.1.1.1", "198.51.100.1:443"]), "198.51.100.1");
        assert_eq!(caller("10.0.0.1", &["1.1.1.1, garbage"]), "10.0.0.1");
        assert_eq!(caller("10.0.0.1", &["\u{fc}, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(caller("::1", &["[2001:db8::7]:443"]), "2001:db8::7");
    }
}
