//! Masquerading: traffic from the pool leaves the host with the host's own source address.
//!
//! Owns one dedicated nftables table per interface, and changes it only if it differs from the desired one.
//! `ruleset` defines the content of the table. It must not touch other tables, such as an administrator's firewall.

mod ruleset;

pub(crate) use ruleset::table;

use netlink_packet_core::{Emitable, NLM_F_APPEND, NLM_F_CREATE, NetlinkSerializable, ParseableParametrized as _};
use netlink_packet_netfilter::nftables::{NfTablesMessage, RuleAttribute};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily};
use netlink_sys::protocols::NETLINK_NETFILTER;
use wgctl::device::kernel::conversation::Failure;
use wgctl::device::kernel::refused;
use wgctl::device::kernel::socket::{Request, Socket};
use wgctl::name::InterfaceName;

use super::{Error, Masquerade, Spec};

/// `NFNL_SUBSYS_NFTABLES` (`linux/netfilter/nfnetlink.h`). A message type consists of the subsystem and the
/// command.
const SUBSYSTEM: u8 = 10;
/// `ENOENT`: there is no such table.
const ENOENT: i32 = 2;
/// The errors returned by a kernel without nftables: no such protocol, subsystem or operation.
const WITHOUT_NFTABLES: [i32; 4] = [22, 93, 95, 97];

/// Returns the masquerading that `spec` requires.
pub(super) fn wanted(spec: &Spec) -> Masquerade {
    match spec.masquerade.is_empty() {
        true => Masquerade::None,
        false => Masquerade::Rules(ruleset::marks(&spec.name, &spec.masquerade)),
    }
}

/// Reads the interface's table. In a kernel without nftables there is none.
pub(super) fn shown(name: &InterfaceName) -> Masquerade {
    let read = open(name).and_then(|mut socket| match read(&mut socket, name) {
        Err(Failure::Refused { errno, .. }) if WITHOUT_NFTABLES.contains(&errno) => Ok(None),
        read => read.map_err(|failure| refused(failure, || format!("reading the masquerading rules for {name}"))),
    });
    match read {
        Ok(None) => Masquerade::None,
        Ok(Some(marks)) => Masquerade::Rules(marks),
        Err(Error::Io { source, .. }) if source.raw_os_error().is_some_and(|e| WITHOUT_NFTABLES.contains(&e)) => {
            Masquerade::None
        }
        // The reason is reported when the table is written.
        Err(_) => Masquerade::Unreadable,
    }
}

/// Makes the interface's table match `spec`. Returns the number of writes: 1 if a batch was sent, otherwise 0.
pub(super) fn configure(spec: &Spec) -> Result<u32, Error> {
    if spec.masquerade.is_empty() {
        return remove(&spec.name);
    }
    let what = |doing: &str| format!("{doing} the masquerading rules for {}", spec.name);
    let mut socket = open(&spec.name)?;
    let present = read(&mut socket, &spec.name).map_err(|failure| refused(failure, || what("reading")))?;
    let wanted = ruleset::marks(&spec.name, &spec.masquerade);
    if present.as_ref() == Some(&wanted) {
        return Ok(0);
    }
    let messages = ruleset::replacing(&spec.name, &spec.masquerade);
    send(&mut socket, messages).map_err(|failure| refused(failure, || what("setting")))?;
    Ok(1)
}

/// Removes the interface's table. Returns the number of writes: 0 if there is no table, or if this kernel has no
/// nftables.
pub(super) fn remove(name: &InterfaceName) -> Result<u32, Error> {
    let what = || format!("removing the masquerading rules for {name}");
    let mut socket = match open(name) {
        Err(Error::Io { source, .. }) if source.raw_os_error().is_some_and(|e| WITHOUT_NFTABLES.contains(&e)) => {
            return Ok(0);
        }
        socket => socket?,
    };
    match read(&mut socket, name) {
        Ok(None) => return Ok(0),
        Err(Failure::Refused { errno, .. }) if WITHOUT_NFTABLES.contains(&errno) => return Ok(0),
        present => present.map_err(|failure| refused(failure, what))?,
    };
    send(&mut socket, ruleset::removing(name)).map_err(|failure| refused(failure, what))?;
    Ok(1)
}

fn open(name: &InterfaceName) -> Result<Socket, Error> {
    Socket::open(NETLINK_NETFILTER).map_err(|source| Error::Io {
        what: format!("opening a netfilter socket for the masquerading rules for {name}"),
        source,
    })
}

/// Returns the marks of the rules in the interface's table; `None` if there is no table.
fn read(socket: &mut Socket, name: &InterfaceName) -> Result<Option<Vec<Vec<u8>>>, Failure> {
    match socket.request(&request(ruleset::table_query(name)), |_| Ok(())) {
        Err(Failure::Refused { errno: ENOENT, .. }) => return Ok(None),
        found => found?,
    }
    let mut marks = Vec::new();
    socket.dump(&request(ruleset::rules_query(name)), |part| {
        marks.extend(mark(part)?);
        Ok(())
    })?;
    Ok(Some(marks))
}

/// Returns the mark of a dumped rule; it is empty for a rule without a mark, which is not the agent's.
fn mark(part: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
    let kind = u16::from_be_bytes([SUBSYSTEM, ruleset::NEW_RULE]);
    let message = NetfilterMessage::parse_with_param(part, kind)
        .map_err(|error| Failure::Malformed(format!("an nftables rule that cannot be read: {error}")))?;
    let NetfilterMessageInner::NfTables(NfTablesMessage::NewRule(rule)) = message.inner else {
        return Ok(None);
    };
    let mark = rule.attributes.into_iter().find_map(|attribute| match attribute {
        RuleAttribute::UserData(mark) => Some(mark),
        _ => None,
    });
    Ok(Some(mark.unwrap_or_default()))
}

/// Sends messages as one batch: either all of them take effect or none does.
fn send(socket: &mut Socket, messages: Vec<NfTablesMessage>) -> Result<(), Failure> {
    let messages: Vec<Request> = messages
        .into_iter()
        .map(|message| {
            let flags = match message {
                NfTablesMessage::NewTable(_) | NfTablesMessage::NewChain(_) => NLM_F_CREATE,
                // Append the rule: without this flag the kernel inserts it before the existing rules.
                NfTablesMessage::NewRule(_) => NLM_F_CREATE | NLM_F_APPEND,
                _ => 0,
            };
            Request {
                flags,
                ..request(message)
            }
        })
        .collect();
    socket.batch(
        &border(ControlMessage::BatchBegin),
        &messages,
        &border(ControlMessage::BatchEnd),
    )
}

fn request(message: NfTablesMessage) -> Request {
    let header = NetfilterHeader::new(NetfilterProtoFamily::Inet, 0, 0);
    encode(NetfilterMessage::new(header, message))
}

/// Returns the first or last message of a batch, which names the batch's subsystem.
fn border(message: ControlMessage) -> Request {
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, u16::from(SUBSYSTEM));
    encode(NetfilterMessage::new(header, message))
}

fn encode(message: NetfilterMessage) -> Request {
    let mut payload = vec![0; Emitable::buffer_len(&message)];
    message.emit(&mut payload);
    Request::new(NetlinkSerializable::message_type(&message), payload)
}
