//! What the guard remembers across restarts and reboots.
//!
//! Owns the file `guard.json` in the state directory. It must not decide what is remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};
use wgctl::program::private_file;

const NAME: &str = "guard.json";

/// The remembered addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The last known addresses of each plane, by the host in its URL.
    #[serde(default)]
    pub planes: BTreeMap<String, BTreeSet<IpAddr>>,
    /// The resolvers that the last judgement saw.
    #[serde(default)]
    pub resolvers: BTreeSet<IpAddr>,
    /// The planes' and resolvers' addresses that the host has reached through the interface.
    #[serde(default)]
    pub through_tunnel: BTreeSet<IpAddr>,
}

impl Memory {
    /// Reads the file; `None` if it does not exist.
    pub fn load(folder: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(folder.join(NAME)) {
            Ok(content) => Ok(Some(serde_json::from_slice(&content)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the file.
    pub fn save(&self, folder: &Path) -> io::Result<()> {
        private_file::write_private(&folder.join(NAME), &serde_json::to_vec(self)?)
    }
}
