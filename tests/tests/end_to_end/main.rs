//! Tests from REST to the kernel, with the real programs on real WireGuard: plane, agents and devices, each
//! in its own namespace, checked with `wg`, `ip`, `ping`, `nft` and `zbarimg`.
//!
//! Needs root and a kernel with WireGuard: run with `cargo kernel-test --test end_to_end`.

mod adoption;
mod backfill;
mod counters;
mod drift;
mod executes;
mod guard;
mod host;
mod peers;
mod reference;
mod restore;
mod secrets;
mod tunnel;
mod userspace;

use sentrazone_tests::lab::{Host, Lab};
use sentrazone_tests::wait;
use wgctl::api::{NewPeer, Peer};

/// Creates a peer with this name. The plane chooses everything else.
async fn create(lab: &Lab, host: &Host, name: &str) -> Peer {
    let new = NewPeer {
        name: Some(name.parse().unwrap()),
        ..NewPeer::default()
    };
    lab.admin().create_peer(&host.id, &new, None).await.unwrap()
}

/// Waits until the agent is online, creates a peer, and checks that it has been applied.
async fn create_applied(lab: &Lab, host: &Host, name: &str) -> Peer {
    online(lab, host).await;
    let peer = create(lab, host, name).await;
    assert!(peer.applied, "not applied, although the agent is online: {peer:?}");
    peer
}

/// Waits until the server's agent is online and has applied the record.
async fn online(lab: &Lab, host: &Host) {
    let admin = lab.admin();
    wait::until(
        "the server is online and up to date",
        || admin.statuses(),
        |answer| {
            let statuses = answer.as_ref().unwrap();
            let status = statuses.iter().find(|status| status.server_id == host.id).unwrap();
            status.online && status.applied_revision == Some(status.desired_revision)
        },
    )
    .await
    .unwrap();
}
