//! The kernel's responses: any bytes from netlink result in a device, an error or nothing, and a plan that
//! changes that device can be encoded as messages.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use wgctl::PrivateKey;
use wgctl::device::kernel::codec::{Dump, messages};
use wgctl::device::kernel::conversation::{Conversation, Failure, words};
use wgctl::device::plan::{Scope, plan};
use wgctl::device::{DesiredDevice, Device};

/// The sequence number in the seeds' messages.
const SEQUENCE: u32 = 1;

fn replace(device: &Device) {
    let desired = DesiredDevice {
        private_key: PrivateKey::from_bytes([1; 32]),
        listen_port: Some(51820),
        fwmark: None,
        peers: BTreeMap::new(),
    };
    let name = "wg0".parse().expect("a name");
    for message in messages(&name, &plan(&desired, device, &Scope::All)) {
        let _ = message.into_bytes();
    }
}

fuzz_target!(|data: &[u8]| {
    let mut dump = Dump::default();
    let ended = Conversation::dump(SEQUENCE).feed(data, &mut |part| dump.take(part));
    if ended.is_ok() {
        replace(&dump.into_device());
    }
    let mut taken = |_: &[u8]| -> Result<(), Failure> { Ok(()) };
    let _ = Conversation::acknowledged(SEQUENCE, 3).feed(data, &mut taken);
    // The bytes are also parsed as a message without its header.
    let mut alone = Dump::default();
    if alone.take(data).is_ok() {
        replace(&alone.into_device());
    }
    let _ = words(data);
});
