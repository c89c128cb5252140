//! The addresses of the planes, for the guard.
//!
//! Owns the resolution of the planes' names. It must not decide what the addresses mean.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{sleep, timeout};

use crate::reconcile::Input;

/// The interval between resolutions. A plane that moves becomes protected at its new address within this time.
const INTERVAL: Duration = Duration::from_secs(60);
/// The time within which a name must be resolved.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Resolves the hosts in the planes' URLs. A name that cannot be resolved is left out.
pub async fn resolve(hosts: &[String]) -> BTreeMap<String, BTreeSet<IpAddr>> {
    let mut resolved = BTreeMap::new();
    for host in hosts {
        let name = host.trim_matches(['[', ']']);
        // The port does not matter.
        if let Ok(Ok(addresses)) = timeout(TIMEOUT, lookup_host((name, 443))).await {
            resolved.insert(
                host.clone(),
                addresses.map(|address| address.ip().to_canonical()).collect(),
            );
        }
    }
    resolved
}

/// Resolves the hosts again and again, and passes on what was found, until the reconciler ends.
pub(crate) async fn follow(hosts: Vec<String>, inbox: UnboundedSender<Input>) {
    while !inbox.is_closed() {
        sleep(INTERVAL).await;
        // The reconciler may have ended; the loop notices that.
        let _ = inbox.send(Input::PlanesResolved(resolve(&hosts).await));
    }
}
