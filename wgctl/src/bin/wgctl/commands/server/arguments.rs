//! What `server add` and `server set` are told.
//!
//! Owns the arguments and what they become in the API. It must not talk to a plane.

use std::net::IpAddr;

use clap::Args;
use ipnet::IpNet;
use wgctl::ServerId;
use wgctl::address::Endpoint;
use wgctl::api::{NewServer, ServerPatch};
use wgctl::drift::DriftPolicy;
use wgctl::name::InterfaceName;

use crate::argument_types::{List, Nullable, entries, network};

#[derive(Args)]
pub(crate) struct Add {
    /// The server's id, like los-angeles; fixed for life
    id: ServerId,
    /// Where devices dial: host and UDP port
    #[arg(long, value_name = "HOST:PORT")]
    endpoint: Endpoint,
    /// The network devices get their addresses from; one IPv4 and one IPv6 network at most
    #[arg(long, value_name = "NET", required = true, value_delimiter = ',', value_parser = network)]
    pool: Vec<IpNet>,
    /// The interface on the host [default: wg0]
    #[arg(long, value_name = "NAME")]
    interface: Option<InterfaceName>,
    /// The UDP port on the host [default: the endpoint's]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    listen_port: Option<u16>,
    /// Resolvers for the devices
    #[arg(long, value_name = "ADDRESS,...")]
    dns: Vec<List<IpAddr>>,
    /// What devices send into the tunnel [default: everything]
    #[arg(long, value_name = "NET,...")]
    allowed_ips: Vec<List<IpNet>>,
    /// MTU of interface and devices, bytes
    #[arg(long, value_name = "BYTES")]
    mtu: Option<u16>,
    /// Seconds between the devices' keepalives, 0 for off [default: 25]
    #[arg(long, value_name = "SECONDS")]
    keepalive: Option<u16>,
    /// Hide the pool behind the host's own address (NAT)
    #[arg(long)]
    masquerade: bool,
    /// Whose TCP connect time is reported as ping [default: the plane]
    #[arg(long, value_name = "HOST:PORT")]
    ping_target: Option<Endpoint>,
    /// What to do about changes that others make to the interface: repair or only show them
    #[arg(long, value_name = "enforce|report", default_value_t)]
    drift_policy: DriftPolicy,
    /// Take over the interface that the host has, with its key and its peers
    #[arg(long)]
    adopt: bool,
}

impl From<Add> for NewServer {
    fn from(add: Add) -> Self {
        Self {
            id: add.id,
            endpoint: add.endpoint,
            address_pool: add.pool,
            dns: entries(&add.dns).unwrap_or_default(),
            allowed_ips: entries(&add.allowed_ips),
            mtu: add.mtu,
            persistent_keepalive: add.keepalive,
            interface: add.interface,
            listen_port: add.listen_port,
            masquerade: add.masquerade,
            ping_target: add.ping_target,
            drift_policy: add.drift_policy,
            adopt: add.adopt,
        }
    }
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Changes {
    /// Where devices dial: host and UDP port
    #[arg(long, value_name = "HOST:PORT")]
    endpoint: Option<Endpoint>,
    /// Resolvers for the devices, or "none"
    #[arg(long, value_name = "ADDRESS,...")]
    dns: Vec<List<IpAddr>>,
    /// What devices send into the tunnel
    #[arg(long, value_name = "NET,...")]
    allowed_ips: Vec<List<IpNet>>,
    /// MTU of interface and devices, bytes, or "default"
    #[arg(long, value_name = "BYTES")]
    mtu: Option<Nullable<u16>>,
    /// Seconds between the devices' keepalives, or "off"
    #[arg(long, value_name = "SECONDS")]
    keepalive: Option<Nullable<u16>>,
    /// The UDP port on the host
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    listen_port: Option<u16>,
    /// Hide the pool behind the host's own address (NAT)
    #[arg(long, value_name = "true|false", action = clap::ArgAction::Set)]
    masquerade: Option<bool>,
    /// Whose TCP connect time is reported as ping, or "default" for the plane
    #[arg(long, value_name = "HOST:PORT")]
    ping_target: Option<Nullable<Endpoint>>,
    /// What to do about changes that others make to the interface: repair or only show them
    #[arg(long, value_name = "enforce|report")]
    drift_policy: Option<DriftPolicy>,
    /// Take over what the host's interface has by then when it is next enrolled, or not (--adopt=false)
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    adopt: Option<bool>,
}

impl From<Changes> for ServerPatch {
    fn from(changes: Changes) -> Self {
        Self {
            endpoint: changes.endpoint,
            dns: entries(&changes.dns),
            allowed_ips: entries(&changes.allowed_ips),
            mtu: changes.mtu.map(|value| value.0),
            persistent_keepalive: changes.keepalive.map(|value| value.0),
            listen_port: changes.listen_port,
            masquerade: changes.masquerade,
            ping_target: changes.ping_target.map(|value| value.0),
            drift_policy: changes.drift_policy,
            adopt: changes.adopt,
        }
    }
}
