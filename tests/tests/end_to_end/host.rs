//! The agent's effects on its host, and the parts of the host that it must not change.

use sentrazone_tests::lab::{Host, Lab};
use sentrazone_tests::wait;
use wgctl::api::ServerPatch;
use wgctl::client::{PlaneClient, Target};

use crate::{create, create_applied, online};

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_interface_with_the_same_name_is_refused_and_left_alone() {
    let lab = Lab::new().await;
    let mut host = lab.host("los-angeles", &["10.8.0.0/24"]).await;
    online(&lab, &host).await;
    host.agent().kill();
    host.namespace.exec(&["ip", "link", "del", "wg0"]);
    host.namespace.exec(&["ip", "link", "add", "wg0", "type", "dummy"]);
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
    assert!(server.failed.unwrap().contains("not a WireGuard interface"));
    let peer = create(&lab, &host, "alice").await;
    assert!(!peer.applied, "{peer:?}");
    assert!(
        host.namespace
            .exec(&["ip", "-d", "link", "show", "wg0"])
            .contains("dummy"),
        "the link was changed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn someone_elses_wireguard_interface_is_refused_and_left_alone() {
    let lab = Lab::new().await;
    let mut host = lab.host("los-angeles", &["10.8.0.0/24"]).await;
    online(&lab, &host).await;
    host.agent().kill();
    let key = lab.folder().join("theirs.key");
    std::fs::write(&key, wgctl::PrivateKey::generate().unwrap().to_base64().as_str()).unwrap();
    host.namespace
        .exec(&["wg", "set", "wg0", "private-key", &key.display().to_string()]);
    let theirs = host.dump();
    host.start();
    let admin = lab.admin();
    let told = |answer: &Result<wgctl::api::Server, _>| answer.as_ref().is_ok_and(|server| server.failed.is_some());
    wait::until(
        "the plane shows why the interface failed",
        || admin.server(&host.id),
        told,
    )
    .await
    .unwrap();
    assert_eq!(host.dump(), theirs);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_a_plane_restores_everything_from_its_cache() {
    let mut lab = Lab::new().await;
    let mut host = lab.host("los-angeles", &["10.8.0.0/24", "fd00:8::/64"]).await;
    let peer = create_applied(&lab, &host, "alice").await;
    let device = lab.device("alice");
    let text = lab.admin().peer_configuration(&host.id, peer.id).await.unwrap();
    device.connect(&text);
    lab.plane().kill();
    host.agent().kill();
    assert!(device.reaches("10.8.0.1"), "the tunnel failed without plane and agent");
    // Simulates a reboot, which removes the interface.
    host.namespace.exec(&["ip", "link", "del", "wg0"]);
    host.start();
    wait::until_blocking("the peer is back", || host.has_peer(&peer.public_key), |there| *there);
    // Otherwise the device would use its old session for about 15 s more (REKEY_TIMEOUT, KEEPALIVE_TIMEOUT).
    device.connect(&text);
    assert!(device.reaches("fd00:8::1"), "the tunnel did not come back");
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_plane_and_agent_drops_no_session() {
    let mut lab = Lab::new().await;
    let mut host = lab.host("los-angeles", &["10.8.0.0/24"]).await;
    let peer = create_applied(&lab, &host, "alice").await;
    let device = lab.device("alice");
    device.connect(&lab.admin().peer_configuration(&host.id, peer.id).await.unwrap());
    assert!(device.reaches("10.8.0.1"));
    let handshakes = ["wg", "show", "wg0", "latest-handshakes"];
    let before = host.namespace.exec(&handshakes);
    lab.plane().kill();
    host.agent().kill();
    lab.start_plane().await;
    host.start();
    online(&lab, &host).await;
    assert!(lab.admin().peer(&host.id, peer.id).await.unwrap().applied);
    assert!(device.reaches("10.8.0.1"));
    assert_eq!(host.namespace.exec(&handshakes), before, "the session did not continue");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_record_determines_port_mtu_and_addresses() {
    let lab = Lab::new().await;
    let host = lab
        .host_with("los-angeles", &["10.8.0.0/24", "fd00:8::/64"], |server| {
            server.mtu = Some(1380)
        })
        .await;
    online(&lab, &host).await;
    let link = host.namespace.exec(&["ip", "addr", "show", "wg0"]);
    for part in ["mtu 1380", "inet 10.8.0.1/24", "inet6 fd00:8::1/64", "UP"] {
        assert!(link.contains(part), "{part}: {link}");
    }
    assert_eq!(
        host.namespace.exec(&["wg", "show", "wg0", "listen-port"]).trim(),
        "51820"
    );
    let patch = ServerPatch {
        listen_port: Some(51999),
        mtu: Some(Some(1400)),
        ..ServerPatch::default()
    };
    lab.admin().update_server(&host.id, &patch).await.unwrap();
    let port = || host.namespace.exec(&["wg", "show", "wg0", "listen-port"]);
    wait::until_blocking("the port changed", port, |port| port.trim() == "51999");
    let mtu = || host.namespace.exec(&["ip", "link", "show", "wg0"]);
    wait::until_blocking("the MTU changed", mtu, |link| link.contains("mtu 1400"));
    assert!(lab.admin().server(&host.id).await.unwrap().failed.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_removed_externally_is_restored() {
    let lab = Lab::new().await;
    let host = lab.host("los-angeles", &["10.8.0.0/24"]).await;
    let peer = create_applied(&lab, &host, "alice").await;
    host.namespace
        .exec(&["wg", "set", "wg0", "peer", &peer.public_key.to_string(), "remove"]);
    wait::until_blocking("the peer is back", || host.has_peer(&peer.public_key), |there| *there);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_interface_is_reported_everywhere_and_the_host_keeps_its_server() {
    let lab = Lab::new().await;
    let (one, other) = ("los-angeles", "new-york");
    let mut host = lab.enrolled(one, &["10.8.0.0/24"], |_| {}).await;
    host.namespace.exec(&["ip", "link", "add", "wg0", "type", "dummy"]);
    host.start();
    let admin = lab.admin();
    let told = |answer: &Result<Vec<wgctl::api::Status>, _>| answer.as_ref().is_ok_and(|all| all[0].failed.is_some());
    wait::until("the status shows why the interface failed", || admin.statuses(), told)
        .await
        .unwrap();
    let peer = create(&lab, &host, "alice").await;
    assert!(!peer.applied && peer.failed.unwrap().contains("not a WireGuard interface"));

    let elsewhere = lab.enrolled(other, &["10.9.0.0/24"], |_| {}).await;
    let wait_for_cache = || {
        std::fs::read_dir(host.state())
            .unwrap()
            .any(|f| f.unwrap().file_name() == "desired.cache")
    };
    wait::until_blocking("the cache is written", wait_for_cache, |there| *there);
    let agent = sentrazone_tests::process::binary("sentrazone-agent");
    let refused = host
        .namespace
        .command(&agent.display().to_string())
        .args([
            "enroll",
            "--allow-plaintext",
            "--plane",
            "http://192.0.2.254:8080",
            "--token-file",
        ])
        .arg(elsewhere.config().with_file_name("agent.token"))
        .arg("--config")
        .arg(host.config())
        .arg("--state-dir")
        .arg(host.state())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && words.contains("this host is los-angeles"),
        "{words}"
    );
    let token = std::fs::read_to_string(host.config().with_file_name("agent.token")).unwrap();
    assert_eq!(token.trim(), host.token(), "the token was overwritten");
}

/// Runs `enroll` with the token in a file. Returns its output.
fn enroll(lab: &Lab, host: &Host, token: &str, more: &[&str]) -> String {
    let file = lab.folder().join("next-token");
    std::fs::write(&file, token).unwrap();
    let agent = sentrazone_tests::process::binary("sentrazone-agent");
    let mut command = host.namespace.command(&agent.display().to_string());
    command.args(["enroll", "--allow-plaintext", "--plane", "http://192.0.2.254:8080"]);
    command
        .arg("--token-file")
        .arg(&file)
        .arg("--config")
        .arg(host.config())
        .args(more);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_token_is_replaced_while_it_runs_without_delaying_any_change() {
    let lab = Lab::new().await;
    let mut host = lab.host("los-angeles", &["10.8.0.0/24"]).await;
    online(&lab, &host).await;
    let admin = lab.admin();
    let grace = wgctl::api::TokenRotation { grace_seconds: 3600 };
    let new = admin.rotate_agent_token(&host.id, grace).await.unwrap().agent_token;
    let words = enroll(&lab, &host, &new, &["--dry-run"]);
    assert!(!words.contains("another host's key"), "{words}");
    let elsewhere = lab.registered("tokyo", &["10.9.0.0/24"], |_| {}).await;
    let state = elsewhere.state().display().to_string();
    let words = enroll(&lab, &elsewhere, &new, &["--dry-run", "--state-dir", &state]);
    assert!(words.contains("los-angeles had another host's key"), "{words}");
    let words = enroll(&lab, &host, &new, &[]);
    assert!(words.contains("systemctl restart sentrazone-agent"), "{words}");
    // The agent still has the old token, and it works.
    create_applied(&lab, &host, "before").await;
    host.agent().stop();
    host.start();
    let retired = || async { lab.wgctl(&["audit"]).contains("server_token_retired") };
    wait::until("the old token has been retired", retired, |told| *told).await;
    create_applied(&lab, &host, "after").await;
    let old = PlaneClient::new(Target::Socket(lab.folder().join("plane.sock")), None).unwrap();
    let old = old.with_token(host.token().to_owned().into());
    let refused = old.terms().await.unwrap_err().to_string();
    assert!(refused.contains("no longer valid"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn enrolling_a_host_again_keeps_settings_made_by_hand() {
    let lab = Lab::new().await;
    let mut host = lab.host("los-angeles", &["10.8.0.0/24"]).await;
    online(&lab, &host).await;
    let admin = lab.admin();
    let rotated = admin
        .rotate_agent_token(&host.id, wgctl::api::TokenRotation::default())
        .await
        .unwrap()
        .agent_token;
    let offline = |answer: &Result<Vec<wgctl::api::Status>, _>| !answer.as_ref().unwrap()[0].online;
    wait::until("the old token is no longer valid", || admin.statuses(), offline)
        .await
        .unwrap();
    assert!(host.agent().ended().is_none(), "the agent ended");
    host.agent().kill();
    let token = lab.folder().join("rotated");
    std::fs::write(&token, &rotated).unwrap();
    let agent = sentrazone_tests::process::binary("sentrazone-agent")
        .display()
        .to_string();
    let mut enroll = host.namespace.command(&agent);
    enroll.args([
        "enroll",
        "--allow-plaintext",
        "--plane",
        "http://192.0.2.254:8080",
        "--token-file",
    ]);
    assert!(
        enroll
            .arg(&token)
            .arg("--config")
            .arg(host.config())
            .output()
            .unwrap()
            .status
            .success()
    );
    let config = std::fs::read_to_string(host.config()).unwrap();
    assert!(config.contains("report_interval = 1\n"), "{config}");
    let example = lab.folder().join("example.toml");
    std::fs::copy(
        concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/agent.toml"),
        &example,
    )
    .unwrap();
    let mut enroll = host.namespace.command(&agent);
    enroll.args([
        "enroll",
        "--allow-plaintext",
        "--plane",
        "http://192.0.2.254:8080",
        "--token-file",
    ]);
    enroll
        .arg(&token)
        .arg("--config")
        .arg(&example)
        .arg("--state-dir")
        .arg(host.state());
    assert!(
        enroll.output().unwrap().status.success(),
        "enrolling failed with the packaged example, which consists only of comments"
    );
    host.start();
    online(&lab, &host).await;
}
