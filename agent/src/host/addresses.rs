//! The interface's own addresses.
//!
//! Owns the difference between the addresses that are there and those that should be. It must
//! leave IPv6 link-local addresses alone: the kernel and others put them there for their own ends.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use ipnet::IpNet;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use wgctl::device::kernel::link::{Link, Route};

use super::{Error, Spec};

/// `EADDRNOTAVAIL`: the interface has no such address.
const EADDRNOTAVAIL: i32 = 99;

/// Adds what is missing, then removes what is not wanted. Gives the number of writes.
///
/// In this order because the kernel drops every IPv4 route over a link, whoever made it, with the
/// link's last IPv4 address. And it deletes the other addresses of a network with the first one
/// (`promote_secondaries` off, the default): after a removal a second look adds what went along.
pub(super) fn configure(route: &Route, link: &Link, spec: &Spec) -> Result<u32, Error> {
    let present = read(route, link, spec)?;
    let mut writes = add_missing(route, link, spec, &present)?;
    let mut removed = false;
    for (address, message) in present {
        if !spec.addresses.contains(&address) {
            writes += remove(route, spec, &address, message)?;
            removed = true;
        }
    }
    if removed {
        let left = read(route, link, spec)?;
        writes += add_missing(route, link, spec, &left)?;
    }
    Ok(writes)
}

fn add_missing(
    route: &Route,
    link: &Link,
    spec: &Spec,
    present: &BTreeMap<IpNet, AddressMessage>,
) -> Result<u32, Error> {
    let mut writes = 0;
    for address in spec.addresses.iter().filter(|address| !present.contains_key(address)) {
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
        route.wait(what, request.execute())?;
        writes += 1;
    }
    Ok(writes)
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
