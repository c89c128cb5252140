//! The interface's own addresses.
//!
//! Owns reading, adding and removing them. It must leave IPv6 link-local addresses alone: the kernel and
//! others use them for their own purposes.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt as _;
use ipnet::IpNet;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use wgctl::device::kernel::link::{Link, Route};

use super::{Difference, Error, Spec};

/// `EADDRNOTAVAIL`: the interface has no such address.
const EADDRNOTAVAIL: i32 = 99;

/// Adds what is missing, then removes what is not wanted. Gives the number of writes.
///
/// In this order because the kernel drops every IPv4 route over a link, whoever made it, with the
/// link's last IPv4 address. And it deletes the other addresses of a network with the first one
/// (`promote_secondaries` off, the default): the caller reads again.
pub(super) fn repair(
    route: &Route,
    link: &Link,
    spec: &Spec,
    differences: &BTreeSet<Difference>,
) -> Result<u32, Error> {
    let mut outcomes = Vec::new();
    // As the spec has them: the first one is the source of what the host itself sends.
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
    // A tunnel has no broadcast; wg-quick sets none either.
    request
        .message_mut()
        .attributes
        .retain(|attribute| !matches!(attribute, AddressAttribute::Broadcast(_)));
    let what = || format!("adding address {address} to {}", spec.name);
    route.wait(what, request.execute()).map(|()| 1)
}

/// Removes one address; one that went along with another is gone already, and that is no write.
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

/// The addresses on the link with the message that describes each, link-local ones left out.
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

/// `IFA_LOCAL` is the interface's own address where `IFA_ADDRESS` is the other end's.
fn address(message: &AddressMessage) -> Option<IpNet> {
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
