//! The arguments of `server add` and `server set`.
//!
//! Owns the arguments and their conversion into API requests. It must not talk to a plane.

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
    /// The server's id, like los-angeles; it cannot be changed later
    id: ServerId,
    /// The host and UDP port that devices connect to
    #[arg(long, value_name = "HOST:PORT")]
    endpoint: Endpoint,
    /// The network that devices get their addresses from; at most one IPv4 and one IPv6 network
    #[arg(long, value_name = "NET", required = true, value_delimiter = ',', value_parser = network)]
    pool: Vec<IpNet>,
    /// The interface on the host [default: wg0]
    #[arg(long, value_name = "NAME")]
    interface: Option<InterfaceName>,
    /// The UDP port on the host [default: the endpoint's]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    listen_port: Option<u16>,
    /// DNS resolvers for the devices
    #[arg(long, value_name = "ADDRESS,...")]
    dns: Vec<List<IpAddr>>,
    /// Destinations that devices route into the tunnel [default: everything]
    #[arg(long, value_name = "NET,...")]
    allowed_ips: Vec<List<IpNet>>,
    /// MTU for the interface and the devices, in bytes
    #[arg(long, value_name = "BYTES")]
    mtu: Option<u16>,
    /// Seconds between the devices' keepalives; 0 turns them off [default: 25]
    #[arg(long, value_name = "SECONDS")]
    keepalive: Option<u16>,
    /// Masquerade the pool behind the host's own address (NAT)
    #[arg(long)]
    masquerade: bool,
    /// Report the TCP connect time to this HOST:PORT as the ping [default: the plane]
    #[arg(long, value_name = "HOST:PORT")]
    ping_target: Option<Endpoint>,
    /// Repair external changes to the interface, or only show them
    #[arg(long, value_name = "enforce|report", default_value_t)]
    drift_policy: DriftPolicy,
    /// Adopt the host's existing interface, with its key and its peers
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
    /// The host and UDP port that devices connect to
    #[arg(long, value_name = "HOST:PORT")]
    endpoint: Option<Endpoint>,
    /// DNS resolvers for the devices, or "none"
    #[arg(long, value_name = "ADDRESS,...")]
    dns: Vec<List<IpAddr>>,
    /// Destinations that devices route into the tunnel
    #[arg(long, value_name = "NET,...")]
    allowed_ips: Vec<List<IpNet>>,
    /// MTU for the interface and the devices, in bytes, or "default"
    #[arg(long, value_name = "BYTES")]
    mtu: Option<Nullable<u16>>,
    /// Seconds between the devices' keepalives, or "off"
    #[arg(long, value_name = "SECONDS")]
    keepalive: Option<Nullable<u16>>,
    /// The UDP port on the host
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    listen_port: Option<u16>,
    /// Masquerade the pool behind the host's own address (NAT)
    #[arg(long, value_name = "true|false", action = clap::ArgAction::Set)]
    masquerade: Option<bool>,
    /// Report the TCP connect time to this HOST:PORT as the ping, or "default" for the plane
    #[arg(long, value_name = "HOST:PORT")]
    ping_target: Option<Nullable<Endpoint>>,
    /// Repair external changes to the interface, or only show them
    #[arg(long, value_name = "enforce|report")]
    drift_policy: Option<DriftPolicy>,
    /// Adopt the host's existing interface when the host is next enrolled, or do not (--adopt=false)
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
