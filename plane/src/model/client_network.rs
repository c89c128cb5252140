//! The client network of an address. Requests are limited per client network.

use std::net::IpAddr;

/// Returns the address that stands for the client network. An IPv4 address (including its IPv4-mapped IPv6 form) counts as
/// one client, and so does an IPv6 /64.
#[must_use]
pub(crate) fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}
