//! Totals cover the whole lifetime of a peer, even if the kernel's counters start again from zero.

use sentrazone_tests::lab::Lab;
use sentrazone_tests::wait;

use crate::create_applied;

#[tokio::test(flavor = "multi_thread")]
async fn transfer_totals_survive_disabling_enabling_and_a_killed_agent() {
    let lab = Lab::new().await;
    let mut host = lab.host("los-angeles", &["10.8.0.0/24"]).await;
    let peer = create_applied(&lab, &host, "alice").await;
    let admin = lab.admin();
    let device = lab.device("alice");
    let ping = || {
        device.namespace.succeeds(&[
            "ping", "-n", "-c", "5", "-i", "0.2", "-s", "1000", "-w", "20", "10.8.0.1",
        ])
    };
    let server = host.id.clone();
    let at_least = |bytes: u64| {
        let admin = admin.clone();
        let id = server.clone();
        async move {
            let reached = |answer: &Result<wgctl::api::Peer, _>| answer.as_ref().is_ok_and(|p| p.transfer_rx >= bytes);
            wait::until("the total grows", || admin.peer(&id, peer.id), reached)
                .await
                .unwrap()
                .transfer_rx
        }
    };
    device.connect(&admin.peer_configuration(&host.id, peer.id).await.unwrap());
    assert!(ping());
    let first = at_least(4_000).await;

    admin.set_peer_enabled(&host.id, peer.id, false).await.unwrap();
    admin.set_peer_enabled(&host.id, peer.id, true).await.unwrap();
    device.connect(&admin.peer_configuration(&host.id, peer.id).await.unwrap());
    assert!(ping());
    let second = at_least(first + 4_000).await;

    host.agent().kill();
    assert!(ping(), "the tunnel failed without the agent");
    host.start();
    let third = at_least(second + 4_000).await;
    assert!(
        third < second + 20_000,
        "bytes were counted twice: {first} {second} {third}"
    );
}
