//! On a kernel without WireGuard, the agent manages a userspace implementation that is started separately.

use sentrazone_tests::lab::Lab;
use sentrazone_tests::process::Process;
use sentrazone_tests::wait;

use crate::{create_applied, online};

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_manages_wireguard_go_and_reports_when_it_is_missing() {
    let lab = Lab::new().await;
    let name = "wguser0";
    let mut host = lab
        .enrolled("container", &["10.8.0.0/24", "fd00:8::/64"], |server| {
            server.interface = Some(name.parse().unwrap());
        })
        .await;
    let config = std::fs::read_to_string(host.config()).unwrap();
    let lines: Vec<&str> = config.lines().filter(|line| !line.starts_with("backend")).collect();
    std::fs::write(
        host.config(),
        format!("backend = \"userspace\"\n{}\n", lines.join("\n")),
    )
    .unwrap();
    host.start();
    let admin = lab.admin();
    let told = |answer: &Result<wgctl::api::Server, _>| answer.as_ref().is_ok_and(|server| server.failed.is_some());
    let server = wait::until(
        "the plane shows why the interface failed",
        || admin.server(&host.id),
        told,
    )
    .await
    .unwrap();
    let reason = server.failed.unwrap();
    assert!(reason.contains("wireguard-go wguser0"), "{reason}");

    let mut command = host.namespace.command("wireguard-go");
    command
        .args(["--foreground", name])
        .env("WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD", "1");
    let _wireguard_go = Process::start("wireguard-go", command, lab.folder());
    online(&lab, &host).await;
    let peer = create_applied(&lab, &host, "alice").await;
    assert!(
        host.has_peer(&peer.public_key),
        "wg does not show the peer over the same control socket"
    );
    let device = lab.device("alice");
    device.connect(&admin.peer_configuration(&host.id, peer.id).await.unwrap());
    assert!(device.reaches("10.8.0.1"), "not reached over IPv4");
    assert!(device.reaches("fd00:8::1"), "not reached over IPv6");
    assert!(admin.set_peer_enabled(&host.id, peer.id, false).await.unwrap().applied);
    assert!(device.misses("10.8.0.1"), "a disabled peer still got through");
}
