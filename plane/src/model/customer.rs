//! The customer behind an address, by whom requests are limited.

use std::net::IpAddr;

/// Returns the address that stands for the customer: an IPv4 address (IPv4-mapped IPv6 included) is one customer's,
/// and so is an IPv6 /64.
#[must_use]
pub(crate) fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}
