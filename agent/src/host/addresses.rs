//! The addresses of the interface.
//!
//! Owns reading, adding and removing the addresses. It must not touch IPv6 link-local addresses: the kernel and
//! other programs use them for their own purposes.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt as _;
use ipnet::IpNet;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use wgctl::device::kernel::link::{Link, Route};

use super::{Difference, Error, Spec};

/// `EADDRNOTAVAIL`: the interface has no such address.
const EADDRNOTAVAIL: i32 = 99;

/// Adds the missing addresses, then removes the surplus ones. Returns the number of writes.
///
/// The order matters: when a link's last IPv4 address is removed, the kernel drops every IPv4 route over the
/// link, whoever created it. When the first address of a network is removed, the kernel also deletes that
/// network's other addresses (if `promote_secondaries` is off, the default), so the caller must read the
/// addresses again.
pub(super) fn repair(
    route: &Route,
    link: &Link,
    spec: &Spec,
    differences: &BTreeSet<Difference>,
) -> Result<u32, Error> {
    let mut outcomes = Vec::new();
    // Keep the order in the spec: the first address is the source address for the host's own traffic.
    let wanted = spec.addresses.iter();
    for address in wanted.filter(|address| differences.contains(&Difference::AddressMissing(**address))) {
        outcomes.push(add(route, link, spec, address));
    }
    let surplus = |address: &IpNet| differences.contains(&Difference::AddressSurplus(*address));
    if differences
        .iter()
        .any(|found| matches!(found, Difference::AddressSurplus(_)))
    {
        for (address, message) in read(route, link, spec)? {
            if surplus(&address) {
                outcomes.push(remove(route, spec, &address, message));
            }
        }
    }
    outcomes.into_iter().sum()
}

fn add(route: &Route, link: &Link, spec: &Spec, address: &IpNet) -> Result<u32, Error> {
    let mut request = route
        .handle()
        .address()
        .add(link.index, address.addr(), address.prefix_len());
    // A tunnel has no broadcast address; wg-quick sets none either.
    request
        .message_mut()
        .attributes
        .retain(|attribute| !matches!(attribute, AddressAttribute::Broadcast(_)));
    let what = || format!("adding address {address} to {}", spec.name);
    route.wait(what, request.execute()).map(|()| 1)
}

/// Removes one address. An address that the kernel has already deleted together with another one does not count as
/// a write.
fn remove(route: &Route, spec: &Spec, address: &IpNet, message: AddressMessage) -> Result<u32, Error> {
    let request = route.handle().address().del(message).execute();
    let what = || format!("removing address {address} from {}", spec.name);
    match route.wait(what, request) {
        Err(Error::Refused {
            errno: EADDRNOTAVAIL, ..
        }) => Ok(0),
        removed => removed.map(|()| 1),
    }
}

/// Returns the addresses on the link with the message that describes each, excluding link-local addresses.
pub(super) fn read(route: &Route, link: &Link, spec: &Spec) -> Result<BTreeMap<IpNet, AddressMessage>, Error> {
    let request = route.handle().address().get();
    let request = request.set_link_index_filter(link.index).execute();
    let messages: Vec<AddressMessage> = route.wait(
        || format!("reading the addresses of {}", spec.name),
        request.try_collect(),
    )?;
    let addresses = messages
        .into_iter()
        .filter_map(|message| Some((address(&message)?, message)));
    Ok(addresses.filter(|(address, _)| !is_link_local(address)).collect())
}

/// Returns the interface's own address. On a point-to-point link, `IFA_ADDRESS` is the peer's address and
/// `IFA_LOCAL` is the interface's own.
pub(super) fn address(message: &AddressMessage) -> Option<IpNet> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    let plain = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(ip) => Some(*ip),
        _ => None,
    });
    IpNet::new(local.or(plain)?, message.header.prefix_len).ok()
}

const fn is_link_local(address: &IpNet) -> bool {
    match address {
        IpNet::V4(_) => false,
        IpNet::V6(v6) => v6.addr().is_unicast_link_local(),
    }
}
