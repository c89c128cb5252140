//! The arguments of `peer add` and `peer set`.
//!
//! Owns the arguments and their conversion into API requests. It must not talk to a plane or read the clock.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use ipnet::IpNet;
use wgctl::api::{NewPeer, PeerPatch};
use wgctl::{PeerName, PublicKey, ServerId, Timestamp};

use crate::argument_types::{List, Moment, Nullable, entries};

#[derive(Args)]
pub(crate) struct Add {
    /// The server
    pub(crate) server: ServerId,
    /// The device's name, unique on its server
    #[arg(required_unless_present = "from_file")]
    name: Option<PeerName>,
    /// Add a device for each line of this file ("-" for stdin): NAME or NAME,PUBLIC-KEY. Names that exist already
    /// are left as they are, so an interrupted run can be repeated
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "public_key", "address"])]
    from_file: Option<PathBuf>,
    /// Write the configuration of each device to this directory, readable only by you
    #[arg(long, value_name = "FOLDER", requires = "from_file", conflicts_with = "name")]
    output_dir: Option<PathBuf>,
    /// The public key of a device that keeps its private key
    #[arg(long, value_name = "KEY")]
    public_key: Option<PublicKey>,
    /// The address to assign; at most one per family [default: the next free one]
    #[arg(long, value_name = "ADDRESS")]
    address: Vec<List<IpAddr>>,
    /// The time at which the device expires: 90d, 12h, or a time like 2026-05-06T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    expires: Option<Moment>,
    /// Destinations that the device routes into the tunnel [default: the server's]
    #[arg(long, value_name = "NET,...")]
    allowed_ips: Vec<List<IpNet>>,
    /// Networks behind the device that the server accepts and routes
    #[arg(long, value_name = "NET,...")]
    server_allowed_ips: Vec<List<IpNet>>,
    /// DNS resolvers for the device, or "none" [default: the server's]
    #[arg(long, value_name = "ADDRESS,...")]
    dns: Vec<List<IpAddr>>,
    /// MTU for the device, in bytes [default: the server's]
    #[arg(long, value_name = "BYTES")]
    mtu: Option<u16>,
    /// Seconds between keepalives; 0 turns them off [default: the server's]
    #[arg(long, value_name = "SECONDS")]
    keepalive: Option<u16>,
    /// Do not use a preshared key
    #[arg(long)]
    no_psk: bool,
}

/// A file that names the devices to add.
pub(crate) struct NameFile<'a> {
    /// The file with the names of the devices, and the public keys of devices that keep their private keys.
    pub(crate) file: &'a Path,
    /// The directory for their configurations.
    pub(crate) folder: Option<&'a Path>,
}

impl Add {
    /// Returns the file of devices to add, if one was given.
    pub(crate) fn many(&self) -> Option<NameFile<'_>> {
        self.from_file.as_deref().map(|file| NameFile {
            file,
            folder: self.output_dir.as_deref(),
        })
    }

    /// Returns the request; durations are added to `now`.
    pub(crate) fn request(&self, now: Timestamp) -> NewPeer {
        NewPeer {
            name: self.name.clone(),
            public_key: self.public_key,
            address: None,
            addresses: entries(&self.address),
            expires_at: self.expires.map(|when| when.ahead_of(now)),
            allowed_ips: entries(&self.allowed_ips),
            server_allowed_ips: entries(&self.server_allowed_ips),
            dns: entries(&self.dns),
            persistent_keepalive: self.keepalive,
            mtu: self.mtu,
            preshared_key: self.no_psk.then_some(false),
        }
    }
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Changes {
    /// The time at which the device expires: 90d, a time like 2026-05-06T12:00:00Z, or "never"
    #[arg(long, value_name = "WHEN")]
    expires: Option<Nullable<Moment>>,
    /// Destinations that the device routes into the tunnel
    #[arg(long, value_name = "NET,...")]
    allowed_ips: Vec<List<IpNet>>,
    /// Networks behind the device that the server accepts and routes, or "none"
    #[arg(long, value_name = "NET,...")]
    server_allowed_ips: Vec<List<IpNet>>,
    /// DNS resolvers for the device, or "none"
    #[arg(long, value_name = "ADDRESS,...")]
    dns: Vec<List<IpAddr>>,
    /// MTU for the device, in bytes, or "default"
    #[arg(long, value_name = "BYTES")]
    mtu: Option<Nullable<u16>>,
    /// Seconds between keepalives, or "off"
    #[arg(long, value_name = "SECONDS")]
    keepalive: Option<Nullable<u16>>,
}

impl Changes {
    /// Returns the request; durations are added to `now`.
    pub(crate) fn request(&self, now: Timestamp) -> PeerPatch {
        PeerPatch {
            name: None,
            enabled: None,
            expires_at: self.expires.as_ref().map(|when| when.0.map(|when| when.ahead_of(now))),
            allowed_ips: entries(&self.allowed_ips),
            server_allowed_ips: entries(&self.server_allowed_ips),
            dns: entries(&self.dns),
            persistent_keepalive: self.keepalive.as_ref().map(|seconds| seconds.0),
            mtu: self.mtu.as_ref().map(|bytes| bytes.0),
        }
    }
}
