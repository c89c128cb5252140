//! The client network that an address belongs to. Requests are limited per client network.

use std::net::IpAddr;

/// Returns the address that identifies the client network: an IPv6 address is reduced to its /64, and an IPv4 address
/// stays as it is. An IPv4-mapped IPv6 address counts as the IPv4 address.
#[must_use]
pub(crate) fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}
