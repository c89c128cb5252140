//! The customer behind an address, for limits.

use std::net::IpAddr;

/// Whose address it is: an IPv4 address is one customer's, however it is written, and so is a /64 of
/// IPv6.
#[must_use]
pub(crate) fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}
