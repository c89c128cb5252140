//! A host that boots while its plane is unreachable restores everything from the agent's cache.

use sentrazone_tests::counts::figure;

use crate::host::Host;

const PEERS: usize = 1000;
const DISABLED: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_restored_after_a_reboot_and_a_power_cut_without_the_plane() {
    let mut host = Host::enrolled().await;
    let device = host.peer("device").await;
    let made = host.fill(1..PEERS + DISABLED).await;
    let admin = host.plane.admin();
    let off: Vec<_> = made.iter().take(DISABLED).collect();
    for peer in &off {
        admin.set_peer_enabled(&host.id, peer.id, false).await.unwrap();
    }
    host.converged().await;
    let configuration = admin.peer_configuration(&host.id, device.id).await.unwrap();
    let before = host.picture();
    assert_eq!(host.peers().len(), PEERS, "{before}");
    host.connect(&configuration);
    host.device_reaches_its_server();

    host.plane.take_away();
    host.machine.reboot();
    everything_is_back(
        &mut host,
        "reboot while the plane is unreachable",
        &before,
        &configuration,
    );
    host.plane_is_back().await;

    let last = host.peer("last").await;
    host.converged().await;
    host.machine.cut();
    host.plane.take_away();
    host.machine.start();
    let restored = host.restored();
    let back = host.peers();
    let lost = usize::from(!back.contains(&last.public_key.to_string())) + (PEERS + 1).saturating_sub(back.len());
    figure(
        "power cut after a confirmed change, plane unreachable",
        1,
        lost,
        &restored.to_string(),
    );
    assert_eq!(lost, 0, "{} of {} peers", back.len(), PEERS + 1);
    assert!(off.iter().all(|peer| !back.contains(&peer.public_key.to_string())));
}

fn everything_is_back(host: &mut Host, fault: &str, before: &str, configuration: &str) {
    let restored = host.restored();
    let after = host.picture();
    let back = host.peers().len();
    let told = format!("{back} of {PEERS} peers, {restored}");
    figure(fault, 1, PEERS.saturating_sub(back), &told);
    let gone: Vec<&str> = before.lines().filter(|line| !after.contains(line)).collect();
    let new: Vec<&str> = after.lines().filter(|line| !before.contains(line)).collect();
    assert!(after == before, "gone: {gone:#?}\nnew: {new:#?}");
    host.connect(configuration);
    host.device_reaches_its_server();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_cache_is_reported_and_replaced_once_the_plane_is_back() {
    let mut host = Host::enrolled().await;
    host.fill(0..5).await;
    host.converged().await;
    let before = host.picture();
    host.plane.take_away();
    host.machine.run(
        "systemctl stop sentrazone-agent
         for file in /var/lib/sentrazone-agent/desired*; do truncate -s -10 $file; done
         ip link del wg0; systemctl restart --no-block sentrazone-agent",
    );
    host.restored();
    let told = "journalctl -b -u sentrazone-agent --no-pager -o cat | grep 'desired.* is damaged'";
    host.machine.until("the journal shows the damage", told, |line| {
        line.contains("it is not used")
    });
    let restarts = host.machine.run("systemctl show sentrazone-agent --value -p NRestarts");
    assert_eq!(
        restarts, "0",
        "the agent was restarted instead of waiting for its plane"
    );
    host.plane_is_back().await;
    host.machine
        .until("the peers are back", "wg show wg0 peers | wc -l", |count| count == "5");
    assert_eq!(host.picture(), before);
}
