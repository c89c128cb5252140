//! A device connects with its configuration, and is cut off when its peer is disabled or deleted.

use sentrazone_tests::lab::Lab;
use sentrazone_tests::netns::run;
use sentrazone_tests::wait;
use wgctl::client::HistoryQuery;

use crate::create_applied;

#[tokio::test(flavor = "multi_thread")]
async fn a_device_reaches_its_server_until_it_is_disabled_or_deleted() {
    let lab = Lab::new().await;
    let host = lab.host("los-angeles", &["10.8.0.0/24", "fd00:8::/64"]).await;
    let peer = create_applied(&lab, &host, "alice-iphone").await;
    let admin = lab.admin();
    let device = lab.device("alice");
    device.connect(&admin.peer_configuration(&host.id, peer.id).await.unwrap());
    assert!(device.reaches("10.8.0.1"), "not reached over IPv4");
    assert!(device.reaches("fd00:8::1"), "not reached over IPv6");

    let disabled = admin.set_peer_enabled(&host.id, peer.id, false).await.unwrap();
    assert!(disabled.applied && !disabled.enabled);
    assert!(!host.has_peer(&peer.public_key));
    assert!(device.misses("10.8.0.1"), "a disabled peer still got through");

    let enabled = admin.set_peer_enabled(&host.id, peer.id, true).await.unwrap();
    assert!(enabled.applied && enabled.enabled);
    assert_eq!(enabled.addresses, peer.addresses, "a disabled peer lost its addresses");
    device.connect(&admin.peer_configuration(&host.id, peer.id).await.unwrap());
    assert!(device.reaches("10.8.0.1"));

    admin.remove_peer(&host.id, peer.id).await.unwrap();
    assert!(!host.has_peer(&peer.public_key));
    assert!(device.misses("10.8.0.1"), "a deleted peer still got through");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_server_serves_only_its_own_devices() {
    let lab = Lab::new().await;
    let west = lab.host("west", &["10.8.0.0/24"]).await;
    let east = lab.host("east", &["10.9.0.0/24"]).await;
    for (host, gateway) in [(&west, "10.8.0.1"), (&east, "10.9.0.1")] {
        let peer = create_applied(&lab, host, "laptop").await;
        let device = lab.device("laptop");
        device.connect(&lab.admin().peer_configuration(&host.id, peer.id).await.unwrap());
        assert!(device.reaches(gateway), "{}", host.id);
        assert_eq!(
            host.kernel_peers(),
            [peer.public_key.to_string()],
            "expected only the server's own peer"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_qr_code_contains_the_configuration_byte_for_byte() {
    let lab = Lab::new().await;
    let host = lab.host("los-angeles", &["10.8.0.0/24", "fd00:8::/64"]).await;
    let peer = create_applied(&lab, &host, "Zoë's phone").await;
    let admin = lab.admin();
    let configuration = admin.peer_configuration(&host.id, peer.id).await.unwrap();
    let svg = lab.folder().join("code.svg").display().to_string();
    let png = lab.folder().join("code.png").display().to_string();
    std::fs::write(&svg, admin.peer_qrcode(&host.id, peer.id).await.unwrap()).unwrap();
    run(&["rsvg-convert", "--width", "800", "--output", &png, &svg]);
    let decoded = run(&["zbarimg", "--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", &png]);
    // zbarimg appends a line feed to its output.
    assert_eq!(decoded.strip_suffix('\n').unwrap(), configuration);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_masquerading_server_gives_devices_access_to_other_networks() {
    let lab = Lab::new().await;
    let host = lab
        .host_with("exit", &["10.8.0.0/24", "fd00:8::/64"], |server| {
            server.masquerade = true
        })
        .await;
    // On a real host, the package's sysctl.d file does this.
    host.namespace.exec(&[
        "sysctl",
        "-q",
        "-w",
        "net.ipv4.ip_forward=1",
        "net.ipv6.conf.all.forwarding=1",
    ]);
    let peer = create_applied(&lab, &host, "phone").await;
    let (world, address) = lab.join("world");
    let device = lab.device("phone");
    device.connect(&lab.admin().peer_configuration(&host.id, peer.id).await.unwrap());
    // An address that is not on the bridge: the device could reach an address on the bridge without the tunnel.
    world.exec(&["ip", "addr", "add", "198.51.100.1/32", "dev", "lo"]);
    host.namespace
        .exec(&["ip", "route", "add", "198.51.100.1/32", "via", &address]);
    assert!(device.reaches("198.51.100.1"), "not reached through the tunnel");
    let rules = host.namespace.exec(&["nft", "list", "ruleset"]);
    assert!(
        rules.contains("10.8.0.0/24") && rules.contains("fd00:8::/64") && rules.contains("masquerade"),
        "{rules}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_behind_a_device_are_routed_to_it() {
    let lab = Lab::new().await;
    let host = lab.host("office", &["10.8.0.0/24"]).await;
    crate::online(&lab, &host).await;
    let new = wgctl::api::NewPeer {
        name: Some("branch".parse().unwrap()),
        server_allowed_ips: Some(vec!["10.50.0.0/16".parse().unwrap()]),
        ..wgctl::api::NewPeer::default()
    };
    let peer = lab.admin().create_peer(&host.id, &new, None).await.unwrap();
    assert!(peer.applied);
    let routes = || host.namespace.exec(&["ip", "route", "show", "10.50.0.0/16"]);
    wait::until_blocking("the route exists", routes, |routes| routes.contains("dev wg0"));
    let device = lab.device("branch");
    device
        .namespace
        .exec(&["ip", "addr", "add", "10.50.0.1/32", "dev", "lo"]);
    device.connect(&lab.admin().peer_configuration(&host.id, peer.id).await.unwrap());
    assert!(device.reaches("10.8.0.1"), "the device's first handshake failed");
    assert!(
        host.namespace
            .succeeds(&["ping", "-n", "-c", "3", "-i", "0.2", "-w", "20", "10.50.0.1"])
    );
    lab.admin().remove_peer(&host.id, peer.id).await.unwrap();
    wait::until_blocking("the route is gone", routes, String::is_empty);
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_handshakes_transfers_and_history_reflect_real_traffic() {
    let lab = Lab::new().await;
    let mut host = lab.host("los-angeles", &["10.8.0.0/24"]).await;
    let peer = create_applied(&lab, &host, "alice").await;
    let admin = lab.admin();
    assert_eq!(
        (peer.latest_handshake_at, peer.transfer_rx, peer.transfer_tx),
        (None, 0, 0)
    );
    let device = lab.device("alice");
    device.connect(&admin.peer_configuration(&host.id, peer.id).await.unwrap());
    assert!(device.reaches("10.8.0.1"));

    let seen = wait::until(
        "handshake and transfers are reported",
        || admin.peer(&host.id, peer.id),
        |answer| {
            answer
                .as_ref()
                .is_ok_and(|peer| peer.latest_handshake_at.is_some() && peer.transfer_rx > 0)
        },
    )
    .await
    .unwrap();
    assert!(seen.transfer_tx > 0);
    let status = admin.statuses().await.unwrap().remove(0);
    assert!(
        status.online && status.peers == 1 && status.transfer_rx > 0 && status.reported_at.is_some(),
        "{status:?}"
    );
    let status = wait::until(
        "a round trip is measured",
        || admin.statuses(),
        |answer| {
            answer
                .as_ref()
                .is_ok_and(|all| all.iter().all(|status| status.ping_ms.is_some()))
        },
    )
    .await
    .unwrap();
    assert!(status.iter().all(|status| status.ping_ms.unwrap() > 0.0));

    let history = admin
        .history(&HistoryQuery {
            step: Some(60),
            ..HistoryQuery::default()
        })
        .await
        .unwrap();
    assert!(
        !history.is_empty() && history.iter().all(|point| point.server_id == host.id),
        "{history:?}"
    );
    assert!(history.iter().any(|point| point.transfer_rx > 0));

    assert!(host.agent().stop().success(), "SIGTERM did not end the agent cleanly");
    let online = |answer: &Result<Vec<wgctl::api::Status>, _>| !answer.as_ref().unwrap()[0].online;
    wait::until("the server is offline", || admin.statuses(), online)
        .await
        .unwrap();
    assert!(device.reaches("10.8.0.1"), "the tunnel failed without the agent");
    host.start();
    crate::online(&lab, &host).await;
}
