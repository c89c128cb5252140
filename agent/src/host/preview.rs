//! The human-readable preview of the changes to a host.
//!
//! Owns the reading and the text. It must not write: that belongs to `configure`, which bases its decisions on
//! the same readings.

use ipnet::IpNet;

use super::{Difference, Error, Netlink, Spec, routes};

impl Netlink {
    /// Returns the changes that `configure` would make, one line each.
    pub fn preview(&self, spec: &Spec) -> Result<Vec<String>, Error> {
        let name = &spec.name;
        let mut changes = Vec::new();
        let Some(link) = self.route.link(name)? else {
            changes.push(format!("creates the interface {name}"));
            changes.extend(
                spec.addresses
                    .iter()
                    .map(|address| format!("adds the address {address}")),
            );
            changes.extend(spec.mtu.map(|mtu| format!("sets the MTU to {mtu}")));
            changes.extend(masquerading(spec));
            changes.extend(
                routes::wanted(spec)
                    .iter()
                    .map(|network| format!("adds a route to {network}")),
            );
            return Ok(changes);
        };
        let differences = self.look(&link, spec)?.differences(spec);
        changes.extend(differences.iter().map(|difference| words(spec, difference)));
        Ok(changes)
    }

    /// Returns the addresses that `configure` would remove.
    pub fn surplus(&self, spec: &Spec) -> Result<Vec<IpNet>, Error> {
        let Some(link) = self.route.link(&spec.name)? else {
            return Ok(Vec::new());
        };
        let present = self.look(&link, spec)?.addresses.into_iter();
        Ok(present.filter(|address| !spec.addresses.contains(address)).collect())
    }
}

fn words(spec: &Spec, difference: &Difference) -> String {
    match difference {
        Difference::AddressMissing(address) => format!("adds the address {address}"),
        Difference::AddressSurplus(address) => format!("removes the address {address}"),
        Difference::Mtu(mtu) => format!("changes the MTU from {mtu} to {}", spec.mtu.unwrap_or_default()),
        Difference::Masquerade => masquerading(spec).unwrap_or_else(|| "removes the agent's masquerading".to_owned()),
        Difference::Down => format!("sets {} up", spec.name),
        Difference::RouteMissing(network) => format!("adds a route to {network}"),
        Difference::RouteSurplus(network) => format!("removes the route to {network}"),
    }
}

fn masquerading(spec: &Spec) -> Option<String> {
    let networks: Vec<_> = spec.masquerade.iter().map(ToString::to_string).collect();
    (!networks.is_empty()).then(|| format!("masquerades {}", networks.join(" and ")))
}
