//! The resolvers that the host uses.
//!
//! Owns reading them from `resolv.conf(5)`, and from systemd-resolved where that file names only its stub.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// The servers behind the stub of `systemd-resolved.service(8)`.
const BEHIND_STUB: &str = "/run/systemd/resolve/resolv.conf";

/// Returns the resolvers on other machines. A file that cannot be read contains none.
pub(super) fn read() -> BTreeSet<IpAddr> {
    let mut all = nameservers(Path::new(RESOLV_CONF));
    if all.iter().any(IpAddr::is_loopback) {
        all.extend(nameservers(Path::new(BEHIND_STUB)));
    }
    all.retain(|address| !address.is_loopback());
    all
}

fn nameservers(file: &Path) -> BTreeSet<IpAddr> {
    let text = std::fs::read(file).unwrap_or_default();
    parse(&String::from_utf8_lossy(&text))
}

/// Returns the addresses in the `nameserver` lines. A scope (`fe80::1%eth0`) is not part of an address.
fn parse(text: &str) -> BTreeSet<IpAddr> {
    let mut all = BTreeSet::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() == Some("nameserver") {
            let address = words.next().and_then(|word| word.split('%').next());
            all.extend(address.and_then(|address| address.parse::<IpAddr>().ok()));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nameserver_lines_are_read_as_the_resolver_library_reads_them() {
        let text = "# nameserver 192.0.2.9\nsearch example.com\nnameserver 192.0.2.1\n\tnameserver\t2001:db8::1 # x\n\
                    nameserver fe80::1%eth0\nnameserver resolver.example.com\nnameservers 192.0.2.8\nnameserver\n";
        let expected: BTreeSet<IpAddr> = ["192.0.2.1", "2001:db8::1", "fe80::1"]
            .map(|ip| ip.parse().unwrap())
            .into();
        assert_eq!(parse(text), expected);
    }
}
