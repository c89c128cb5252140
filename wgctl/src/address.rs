//! Addresses: endpoints in the form in which clients dial them, and networks in the form in which the kernel
//! stores them.
//!
//! Owns parsing and normal forms. It must not resolve names or allocate addresses.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

/// An error while parsing an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an endpoint: write HOST:PORT, like vpn.example.com:51820 or [2001:db8::1]:51820")]
pub struct EndpointError;

/// A host and a port, as a client dials them. The host is an IP address or a DNS name, which Sentrazone never
/// resolves.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    host: String,
    port: u16,
}

impl Endpoint {
    /// Returns the DNS name or address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port, which is never 0.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let (host, port) = text.rsplit_once(':').ok_or(EndpointError)?;
        // `parse` alone would accept "+1" and "001".
        if !port.starts_with(|c: char| matches!(c, '1'..='9')) {
            return Err(EndpointError);
        }
        let port: u16 = port.parse().map_err(|_| EndpointError)?;
        let host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(inner) => inner.parse::<Ipv6Addr>().map_err(|_| EndpointError)?.to_string(),
            None => dns_name(host)?,
        };
        Ok(Self { host, port })
    }
}

/// Parses a host name of letters, digits and hyphens (RFC 1123) and underscores, or an IPv4 address.
fn dns_name(host: &str) -> Result<String, EndpointError> {
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.is_empty() || name.len() > 253 || !name.split('.').all(label_ok) {
        return Err(EndpointError);
    }
    Ok(host.to_ascii_lowercase())
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Endpoint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Endpoint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Returns the network that contains only `address`: a /32 or a /128.
#[must_use]
pub fn host(address: IpAddr) -> IpNet {
    IpNet::from(address)
}

/// Returns a network in the form in which the kernel stores it: host bits cleared, an IPv4-mapped IPv6
/// network as IPv4.
#[must_use]
pub fn normal(net: IpNet) -> IpNet {
    if let IpNet::V6(v6) = net
        && let Some(v4) = v6.addr().to_ipv4_mapped()
        && v6.prefix_len() >= 96
        && let Ok(mapped) = ipnet::Ipv4Net::new(v4, v6.prefix_len() - 96)
    {
        return IpNet::V4(mapped.trunc());
    }
    net.trunc()
}

/// Returns true if the two networks have an address in common. CIDR networks overlap only if one contains the
/// other.
#[must_use]
pub fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// Returns true if the address can belong to another host: it is not loopback, link-local (where clouds run their
/// metadata services), multicast, broadcast or unspecified. It may still be assigned to one of the host's own
/// interfaces.
#[must_use]
pub fn leads_off_host(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let nobodys = v4.octets()[0] == 0 || v4.is_broadcast();
            !(v4.is_loopback() || nobodys || v4.is_multicast() || v4.is_link_local())
        }
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cannot_belong_to_another_host_are_recognized() {
        for (text, may) in [
            ("192.0.2.1", true),
            ("10.8.0.1", true),
            ("2001:db8::1", true),
            ("fd00::1", true),
            ("127.0.0.1", false),
            ("127.9.9.9", false),
            ("::ffff:127.0.0.1", false),
            ("0.0.0.0", false),
            ("169.254.169.254", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::1", false),
            ("::", false),
            ("fe80::1", false),
            ("ff02::1", false),
        ] {
            assert_eq!(leads_off_host(text.parse().unwrap()), may, "{text}");
        }
    }

    #[test]
    fn endpoints_are_names_or_addresses_with_a_port() {
        for good in [
            "vpn.example.com:51820",
            "192.0.2.1:1",
            "[2001:db8::1]:51820",
            "host_1:65535",
        ] {
            assert_eq!(good.parse::<Endpoint>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "host",
            "host:",
            "host:0",
            "host:+1",
            "host:01",
            "host:70000",
            ":1",
            "2001:db8::1:51820",
            "a b:1",
            "a\n:1",
            "-x:1",
            "[::1:1",
        ] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn networks_are_normalized_as_in_the_kernel() {
        let normal = |text: &str| super::normal(text.parse().unwrap()).to_string();
        assert_eq!(normal("10.8.0.7/24"), "10.8.0.0/24");
        assert_eq!(normal("::ffff:10.8.0.7/128"), "10.8.0.7/32");
        assert_eq!(normal("fd00::5/64"), "fd00::/64");
    }
}
