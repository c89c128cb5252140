//! What configuring a host would change, in words.
//!
//! Owns the looking and the words. It must not write: that is `configure`'s, which decides by the
//! same readings.

use super::{Error, Netlink, Spec, addresses, nat, routes};

impl Netlink {
    /// What `configure` would change, a line each; empty when it would send nothing.
    pub fn preview(&self, spec: &Spec) -> Result<Vec<String>, Error> {
        let name = &spec.name;
        let mut changes = Vec::new();
        let Some(link) = self.route.link(name)? else {
            changes.push(format!("makes the interface {name}"));
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
        let present = addresses::read(&self.route, &link, spec)?;
        let missing = spec.addresses.iter().filter(|address| !present.contains_key(address));
        changes.extend(missing.map(|address| format!("adds the address {address}")));
        let surplus = present.keys().filter(|address| !spec.addresses.contains(address));
        changes.extend(surplus.map(|address| format!("removes the address {address}")));
        if let Some(mtu) = spec.mtu.map(u32::from).filter(|mtu| *mtu != link.mtu) {
            changes.push(format!("changes the MTU from {} to {mtu}", link.mtu));
        }
        if nat::differs(spec)? {
            changes.extend(masquerading(spec).or_else(|| Some("removes our masquerading".to_owned())));
        }
        if !link.up {
            changes.push(format!("sets {name} up"));
        }
        let (added, removed) = routes::difference(&self.route, &link, spec)?;
        changes.extend(removed.iter().map(|network| format!("removes the route to {network}")));
        changes.extend(added.iter().map(|network| format!("adds a route to {network}")));
        Ok(changes)
    }
}

fn masquerading(spec: &Spec) -> Option<String> {
    let networks: Vec<_> = spec.masquerade.iter().map(ToString::to_string).collect();
    (!networks.is_empty()).then(|| format!("masquerades {}", networks.join(" and ")))
}
