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

/// Removes what is not wanted, then adds what is missing. Gives the number of writes.
///
/// Not the other way round: the kernel deletes the secondary addresses of a network with its
/// primary one (`promote_secondaries` off, the default), so the second look is at what is left.
pub(super) fn configure(route: &Route, link: &Link, spec: &Spec) -> Result<u32, Error> {
    let mut present = read(route, link, spec)?;
    let unwanted: Vec<IpNet> = present
        .keys()
        .filter(|address| !spec.addresses.contains(address))
        .copied()
        .collect();
    let mut writes = 0;
    for address in &unwanted {
        if let Some(message) = present.remove(address) {
            let request = route.handle().address().del(message).execute();
            route.wait(|| format!("removing address {address} from {}", spec.name), request)?;
            writes += 1;
        }
    }
    if writes > 0 {
        present = read(route, link, spec)?;
    }
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
        route.wait(
            || format!("adding address {address} to {}", spec.name),
            request.execute(),
        )?;
        writes += 1;
    }
    Ok(writes)
}

/// The addresses on the link with the message that describes each, link-local ones left out.
fn read(route: &Route, link: &Link, spec: &Spec) -> Result<BTreeMap<IpNet, AddressMessage>, Error> {
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
