//! The conversation with the kernel's WireGuard module.
//!
//! Owns one long-lived socket, a limited number of retries, and the meaning of the module's errors. The
//! encoding belongs to `codec`. It must not decide what to change: it only applies plans.

use netlink_packet_core::{Emitable as _, ParseableParametrized as _};
use netlink_packet_generic::GenlMessage;
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_sys::protocols::NETLINK_GENERIC;
use nix::errno::Errno;

use super::codec::{self, Message};
use super::conversation::Failure;
use super::refusal::refused;
use super::socket::{Request, Socket};
use crate::device::backend::{Backend, Error};
use crate::device::model::Device;
use crate::device::plan::Plan;
use crate::name::InterfaceName;

/// `GENL_ID_CTRL` (`linux/genetlink.h`).
const CONTROLLER: u16 = 16;
/// The number of attempts to read an interface that changes during the dump. A busy writer may interrupt all
/// of them; then the last dump is used. Peers are keyed, so none appears twice. A peer that the dump has
/// missed is created again, which changes nothing, and the next round sees the rest.
const READ_ATTEMPTS: u32 = 5;

/// The kernel's WireGuard interfaces in the network namespace of the thread that opened this conversation.
pub struct Kernel {
    socket: Socket,
    /// The number of the family, which is looked up once the module is loaded.
    family: Option<u16>,
}

impl Kernel {
    /// Opens the conversation. The kernel does not need to support WireGuard at this point.
    pub fn open() -> Result<Self, Error> {
        let socket = Socket::open(NETLINK_GENERIC).map_err(|source| Error::Io {
            what: "opening a generic netlink socket".to_owned(),
            source,
        })?;
        Ok(Self { socket, family: None })
    }

    /// Removes all peers of an interface at once. Deleting a link with its peers waits for a grace period per
    /// peer. With this call first, 1,000 peers take milliseconds instead of seconds.
    pub fn flush(&mut self, interface: &InterfaceName) -> Result<(), Error> {
        self.send(interface, codec::flush(interface), "removing all peers")
    }

    fn send(&mut self, interface: &InterfaceName, message: Message, what: &str) -> Result<(), Error> {
        let mut request = Request::new(self.family()?, message.into_bytes());
        let mut sent = self.socket.request(&request, |_| Ok(()));
        if self.family_is_stale(sent.as_ref().err()) {
            request.kind = self.family()?;
            sent = self.socket.request(&request, |_| Ok(()));
        }
        sent.map_err(|failure| error(failure, interface, || format!("{what} on {interface}")))
    }

    /// Returns true if the module has been unloaded since its family was looked up. After it is loaded again, the
    /// family has another number, which is then looked up.
    fn family_is_stale(&mut self, failure: Option<&Failure>) -> bool {
        let stale = matches!(failure, Some(Failure::Refused { errno, .. }) if *errno == Errno::ENOENT as i32);
        if stale {
            self.family = None;
        }
        stale
    }

    /// Returns the number of the family `wireguard`. The lookup makes the kernel load the module if it can.
    fn family(&mut self) -> Result<u16, Error> {
        if let Some(family) = self.family {
            return Ok(family);
        }
        let query = GenlMessage::from_payload(GenlCtrl {
            cmd: GenlCtrlCmd::GetFamily,
            nlas: vec![GenlCtrlAttrs::FamilyName("wireguard".to_owned())],
        });
        let mut payload = vec![0; query.buffer_len()];
        query.emit(&mut payload);
        let mut family = None;
        let asked = self.socket.request(&Request::new(CONTROLLER, payload), |part| {
            family = family_number(part).or(family);
            Ok(())
        });
        match asked {
            Err(Failure::Refused { errno, .. }) if errno == Errno::ENOENT as i32 => return Err(Error::NoWireguard),
            asked => asked.map_err(|failure| refused(failure, || "looking for WireGuard".to_owned()))?,
        }
        self.family = family;
        family.ok_or(Error::NoWireguard)
    }

    fn dump(&mut self, interface: &InterfaceName) -> Result<(Device, bool), Failure> {
        let family = self.family.unwrap_or_default();
        let request = Request::new(family, codec::query(interface).into_bytes());
        let mut dump = codec::Dump::default();
        let coherent = self.socket.dump(&request, |part| dump.take(part))?;
        Ok((dump.into_device(), coherent))
    }
}

impl Backend for Kernel {
    fn read(&mut self, interface: &InterfaceName) -> Result<Option<Device>, Error> {
        for attempt in 1..=READ_ATTEMPTS {
            self.family()?;
            match self.dump(interface) {
                Ok((_, false)) if attempt < READ_ATTEMPTS => {}
                Err(failure) if attempt < READ_ATTEMPTS && self.family_is_stale(Some(&failure)) => {}
                Ok((device, _)) => return Ok(Some(device)),
                Err(failure) => {
                    return match error(failure, interface, || format!("reading {interface}")) {
                        Error::NoInterface(_) => Ok(None),
                        error => Err(error),
                    };
                }
            }
        }
        Ok(None)
    }

    fn apply(&mut self, interface: &InterfaceName, plan: &Plan) -> Result<(), Error> {
        for message in codec::messages(interface, plan) {
            let what = message.what();
            self.send(interface, message, &what)?;
        }
        Ok(())
    }
}

fn family_number(part: &[u8]) -> Option<u16> {
    let answer = GenlMessage::<GenlCtrl>::parse_with_param(part, CONTROLLER).ok()?;
    answer.payload.nlas.iter().find_map(|attribute| match attribute {
        GenlCtrlAttrs::FamilyId(id) => Some(*id),
        _ => None,
    })
}

/// Interprets an errno from the WireGuard module (`lookup_interface`, `drivers/net/wireguard/netlink.c`).
fn error(failure: Failure, interface: &InterfaceName, what: impl FnOnce() -> String) -> Error {
    match failure {
        Failure::Refused { errno, .. } if errno == Errno::ENODEV as i32 => Error::NoInterface(interface.clone()),
        Failure::Refused { errno, .. } if errno == Errno::EOPNOTSUPP as i32 => Error::NotWireguard(interface.clone()),
        failure => refused(failure, what),
    }
}
