//! `genkey`, `pubkey`, `genpsk`: keys on this machine, in the format that wg(8) prints.
//!
//! Owns reading and printing them. It must not send anything to another machine.

use std::io::Read as _;

use serde_json::json;
use wgctl::{PresharedKey, PrivateKey};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::terminal::output::Output;

/// The limit on the input in bytes, which leaves ample room for a key with surrounding whitespace.
const LONGEST_INPUT: u64 = 4096;

pub(crate) fn genkey(out: &Output) -> Result<(), Failure> {
    let key = PrivateKey::generate().map_err(|error| Failure::Local(error.to_string()))?;
    print_secret(out, "private_key", &key.to_base64())
}

pub(crate) fn genpsk(out: &Output) -> Result<(), Failure> {
    let key = PresharedKey::generate().map_err(|error| Failure::Local(error.to_string()))?;
    print_secret(out, "preshared_key", &key.to_base64())
}

pub(crate) fn pubkey(out: &Output) -> Result<(), Failure> {
    let mut text = Zeroizing::new(String::with_capacity(LONGEST_INPUT as usize));
    std::io::stdin()
        .lock()
        .take(LONGEST_INPUT)
        .read_to_string(&mut text)
        .map_err(|error| Failure::Local(format!("cannot read a private key from stdin: {error}")))?;
    let key: PrivateKey = text
        .parse()
        .map_err(|error| Failure::Local(format!("stdin: {error}")))?;
    let public = key.public_key();
    out.answer(&json!({ "public_key": public }), || format!("{public}\n"))
}

fn print_secret(out: &Output, name: &str, key: &str) -> Result<(), Failure> {
    out.warn_if_world_readable();
    if out.json() {
        return out.answer(&json!({ name: key }), String::new);
    }
    out.text(&Zeroizing::new(format!("{key}\n")))
}
