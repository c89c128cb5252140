//! The guard on a real kernel: no record cuts a host off from its plane or its own network.

use sentrazone_tests::lab::{Host, Lab, PLANE_ADDRESS};
use sentrazone_tests::wait;
use wgctl::api::{NewPeer, Peer};

use crate::{create_applied, online};

/// Creates a peer with these networks behind it. The plane returns it before the host has judged it.
async fn branch(lab: &Lab, host: &Host, name: &str, networks: &[&str]) -> Peer {
    let new = NewPeer {
        name: Some(name.parse().unwrap()),
        server_allowed_ips: Some(networks.iter().map(|network| network.parse().unwrap()).collect()),
        ..NewPeer::default()
    };
    lab.admin().create_peer(&host.id, &new, None).await.unwrap()
}

/// Returns the link over which the host sends packets to `address`.
fn way(host: &Host, address: &str) -> String {
    let text = host.namespace.exec(&["ip", "-o", "route", "get", address]);
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "dev").unwrap();
    words[at + 1].to_owned()
}

/// Waits until the host has refused part of the peer. Returns the reason.
async fn refusal(lab: &Lab, host: &Host, peer: &Peer) -> String {
    let admin = lab.admin();
    let failed = || async { admin.peer(&host.id, peer.id).await.unwrap().failed };
    wait::until("part of the peer is refused", failed, Option::is_some)
        .await
        .unwrap()
}

fn allowed_ips(host: &Host, peer: &Peer) -> String {
    let row = host
        .dump()
        .into_iter()
        .find(|row| row[0] == peer.public_key.to_string());
    row.map(|row| row[3].clone()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_a_network_that_leads_to_the_plane_is_refused_and_everything_else_is_applied() {
    let lab = Lab::new().await;
    let mut host = lab.host("los-angeles", &["10.8.0.0/24"]).await;
    online(&lab, &host).await;
    let plane = format!("{PLANE_ADDRESS}/32");
    for (name, network) in [
        ("exact", plane.as_str()),
        ("inside", "192.0.2.128/25"),
        ("piece", "192.0.2.252/30"),
    ] {
        let peer = branch(&lab, &host, name, &[network, "10.50.0.0/16"]).await;
        let reason = refusal(&lab, &host, &peer).await;
        assert!(
            reason.contains(PLANE_ADDRESS) && reason.contains("allow_routes"),
            "{reason}"
        );
        assert_eq!(way(&host, PLANE_ADDRESS), "eth0", "{name}");
        assert_eq!(way(&host, "10.50.0.1"), "wg0", "{name}");
        let allowed = allowed_ips(&host, &peer);
        assert!(
            allowed.contains("10.50.0.0/16") && !allowed.contains("192.0.2"),
            "{allowed}"
        );
        // The plane's decisions still reach the host.
        lab.admin().remove_peer(&host.id, peer.id).await.unwrap();
        create_applied(&lab, &host, &format!("after-{name}")).await;
        assert!(!host.has_peer(&peer.public_key));
    }
    // A wider network beside the host's own is legitimate.
    let wide = branch(&lab, &host, "wide", &["192.0.0.0/16"]).await;
    create_applied(&lab, &host, "beside-wide").await;
    assert_eq!(
        (way(&host, "192.0.77.1"), way(&host, PLANE_ADDRESS)),
        ("wg0".to_owned(), "eth0".to_owned())
    );
    assert_eq!(lab.admin().peer(&host.id, wide.id).await.unwrap().failed, None);
    assert!(host.agent().ended().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_the_cache_does_not_cut_a_host_off_at_boot_either() {
    let mut lab = Lab::new().await;
    let mut host = lab.host("los-angeles", &["10.8.0.0/24"]).await;
    online(&lab, &host).await;
    let peer = branch(&lab, &host, "branch", &["192.0.2.254/32", "10.50.0.0/16"]).await;
    refusal(&lab, &host, &peer).await;
    // As at a boot: no interface, no plane, and the host's own network comes up after the agent.
    host.agent().kill();
    lab.plane().kill();
    host.namespace.exec(&["ip", "link", "del", "wg0"]);
    host.namespace.exec(&["ip", "link", "set", "eth0", "down"]);
    host.start();
    wait::until_blocking(
        "the cache is applied",
        || host.has_peer(&peer.public_key),
        |there| *there,
    );
    wait::until_blocking("the branch is routed", || way(&host, "10.50.0.1"), |link| link == "wg0");
    host.namespace.exec(&["ip", "link", "set", "eth0", "up"]);
    wait::until_blocking(
        "the network is back",
        || way(&host, PLANE_ADDRESS),
        |link| link == "eth0",
    );
    lab.start_plane().await;
    create_applied(&lab, &host, "after-boot").await;
    assert_eq!(way(&host, PLANE_ADDRESS), "eth0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_a_stolen_token_for_one_server_cannot_outlive_its_revocation() {
    let lab = Lab::new().await;
    let host = lab.host("los-angeles", &["10.8.0.0/24"]).await;
    online(&lab, &host).await;
    let token = lab.wgctl(&[
        "token",
        "add",
        "thief",
        "--role",
        "admin",
        "--server",
        "los-angeles",
        "--expires",
        "1d",
        "--json",
    ]);
    let token: serde_json::Value = serde_json::from_str(&token).unwrap();
    let mine = lab
        .admin()
        .with_token(token["token"].as_str().unwrap().to_owned().into());
    let new = NewPeer {
        name: Some("mine".parse().unwrap()),
        server_allowed_ips: Some(vec!["192.0.2.254/32".parse().unwrap(), "192.0.2.0/25".parse().unwrap()]),
        ..NewPeer::default()
    };
    let peer = mine.create_peer(&host.id, &new, None).await.unwrap();
    refusal(&lab, &host, &peer).await;
    lab.wgctl(&["token", "remove", "thief"]);
    lab.admin().remove_peer(&host.id, peer.id).await.unwrap();
    wait::until_blocking(
        "the thief's peer is gone",
        || host.has_peer(&peer.public_key),
        |there| !there,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_a_gateway_stays_reachable_and_one_that_appears_later_is_given_back() {
    let lab = Lab::new().await;
    let host = lab.host("los-angeles", &["10.8.0.0/24"]).await;
    online(&lab, &host).await;
    let peer = branch(&lab, &host, "branch", &["192.0.2.192/26", "10.50.0.0/16"]).await;
    let reason = refusal(&lab, &host, &peer).await;
    assert!(reason.contains("192.0.2.192/26"), "{reason}");
    let later = branch(&lab, &host, "later", &["192.0.2.128/26"]).await;
    create_applied(&lab, &host, "one").await;
    assert_eq!(way(&host, "192.0.2.130"), "wg0");
    // The host's own network changes: its gateway is now where a branch's network is.
    host.namespace.exec(&[
        "ip",
        "route",
        "add",
        "default",
        "via",
        "192.0.2.130",
        "dev",
        "eth0",
        "onlink",
    ]);
    wait::until_blocking(
        "the gateway is reached directly",
        || way(&host, "192.0.2.130"),
        |link| link == "eth0",
    );
    let reason = refusal(&lab, &host, &later).await;
    assert!(reason.contains("the gateway on eth0"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_a_plane_behind_the_tunnel_is_allowed_by_the_hosts_configuration() {
    let lab = Lab::new().await;
    let mut host = lab.enrolled("los-angeles", &["10.8.0.0/24"], |_| {}).await;
    let text = std::fs::read_to_string(host.config()).unwrap();
    std::fs::write(host.config(), format!("allow_routes = [\"192.0.2.128/25\"]\n{text}")).unwrap();
    host.start();
    online(&lab, &host).await;
    branch(&lab, &host, "branch", &["192.0.2.128/26"]).await;
    wait::until_blocking(
        "the network is routed",
        || way(&host, "192.0.2.130"),
        |link| link == "wg0",
    );
    create_applied(&lab, &host, "after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a2_a_pool_that_is_the_hosts_own_network_is_refused_before_anything_is_touched() {
    let lab = Lab::new().await;
    for (id, pool) in [("own-network", "192.0.2.0/24"), ("part-of-it", "192.0.2.248/29")] {
        let mut host = lab.host(id, &[pool]).await;
        let failed = || async { lab.admin().server(&host.id).await.unwrap().failed };
        let reason = wait::until("the pool is refused", failed, Option::is_some)
            .await
            .unwrap();
        assert!(reason.contains("choose another pool"), "{reason}");
        assert_eq!(
            host.namespace.exec(&["ip", "-4", "-o", "addr", "show", "dev", "wg0"]),
            ""
        );
        assert_eq!(way(&host, PLANE_ADDRESS), "eth0");
        assert!(
            host.namespace
                .succeeds(&["ping", "-n", "-c", "1", "-W", "5", PLANE_ADDRESS])
        );
        // A restart from the cache changes nothing about that.
        host.agent().kill();
        host.start();
        online(&lab, &host).await;
        assert_eq!(
            host.namespace.exec(&["ip", "-4", "-o", "addr", "show", "dev", "wg0"]),
            ""
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a3_the_pools_own_route_is_repaired_like_any_other() {
    let lab = Lab::new().await;
    let mut host = lab.host("los-angeles", &["10.8.0.0/24", "fd08::/64"]).await;
    create_applied(&lab, &host, "one").await;
    for (family, pool, inside) in [("-4", "10.8.0.0/24", "10.8.0.77"), ("-6", "fd08::/64", "fd08::77")] {
        assert_eq!(way(&host, inside), "wg0");
        host.namespace.exec(&["ip", family, "route", "del", pool, "dev", "wg0"]);
        let routed = || host.namespace.exec(&["ip", family, "route", "show", "dev", "wg0"]);
        wait::until_blocking("the pool is routed again", routed, |routes| routes.contains(pool));
    }
    let recorded = || async { lab.wgctl(&["audit", "--action", "drift_repaired"]) };
    wait::until("both repairs are recorded", recorded, |text| {
        text.contains("10.8.0.0/24") && text.contains("fd08::/64")
    })
    .await;
    // Also for a route that was deleted while the agent was stopped.
    host.agent().kill();
    host.namespace
        .exec(&["ip", "route", "del", "10.8.0.0/24", "dev", "wg0"]);
    host.start();
    let routed = || host.namespace.exec(&["ip", "-4", "route", "show", "dev", "wg0"]);
    wait::until_blocking("the pool is routed again", routed, |routes| {
        routes.contains("10.8.0.0/24")
    });
}
