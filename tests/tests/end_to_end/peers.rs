//! Peers in various forms and in large numbers, checked in the kernel.

use std::collections::BTreeSet;

use sentrazone_tests::lab::Lab;
use sentrazone_tests::wait;
use wgctl::api::{NewPeer, PeerPatch};
use wgctl::client::Error;
use wgctl::{PrivateKey, Timestamp};

use crate::{create, create_applied, online};

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_parallel_creates_give_sixty_four_peers_and_addresses() {
    let lab = Lab::new().await;
    let host = lab.host("los-angeles", &["10.8.0.0/24", "fd00:8::/64"]).await;
    online(&lab, &host).await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..64 {
        let admin = lab.admin();
        let id = host.id.clone();
        let new = NewPeer {
            name: Some(format!("device-{number}").parse().unwrap()),
            ..NewPeer::default()
        };
        // An emulated host may be too slow to refill the stock of keys in time. The call then creates nothing and is
        // repeated.
        calls.spawn(async move {
            loop {
                match admin.create_peer(&id, &new, None).await {
                    Err(Error::Refused(problem)) if problem.status == 503 => {}
                    made => break made.unwrap(),
                }
            }
        });
    }
    let peers = calls.join_all().await;
    let addresses: BTreeSet<_> = peers.iter().flat_map(|peer| peer.addresses.clone()).collect();
    assert_eq!(
        addresses.len(),
        128,
        "expected an IPv4 and an IPv6 address each, all different"
    );
    let keys: BTreeSet<String> = peers.iter().map(|peer| peer.public_key.to_string()).collect();
    let kernel = || host.kernel_peers().into_iter().collect::<BTreeSet<_>>();
    wait::until_blocking("the kernel has all of them", kernel, |found| *found == keys);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_can_keep_its_private_key_to_itself_and_connect_with_it() {
    let lab = Lab::new().await;
    let host = lab.host("los-angeles", &["10.8.0.0/24"]).await;
    online(&lab, &host).await;
    let key = PrivateKey::generate().unwrap();
    let new = NewPeer {
        name: Some("router".parse().unwrap()),
        public_key: Some(key.public_key()),
        ..NewPeer::default()
    };
    let admin = lab.admin();
    let peer = admin.create_peer(&host.id, &new, None).await.unwrap();
    assert!(peer.applied && !peer.private_key_held && peer.preshared_key);
    let refused = admin.peer_qrcode(&host.id, peer.id).await.unwrap_err();
    assert_eq!(
        (refused.status(), refused.code()),
        (Some(409), Some("private_key_not_held"))
    );

    let text = admin.peer_configuration(&host.id, peer.id).await.unwrap();
    let own = format!("[Interface]\nPrivateKey = {}", key.to_base64().as_str());
    let device = lab.device("router");
    device.connect(&text.replacen("[Interface]", &own, 1));
    assert!(device.reaches("10.8.0.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_created_while_the_agent_is_offline_is_applied_when_it_returns() {
    let lab = Lab::new().await;
    let mut host = lab.host("los-angeles", &["10.8.0.0/24"]).await;
    let stays = create_applied(&lab, &host, "stays").await;
    host.agent().kill();
    let admin = lab.admin();
    let made = create(&lab, &host, "made-meanwhile").await;
    let gone = admin.set_peer_enabled(&host.id, stays.id, false).await.unwrap();
    assert!(!made.applied && made.pending_since.is_some(), "{made:?}");
    assert!(!gone.applied && gone.pending_since.is_some(), "{gone:?}");
    assert!(host.has_peer(&stays.public_key) && !host.has_peer(&made.public_key));
    host.start();
    let peers = || host.kernel_peers();
    wait::until_blocking("the kernel agrees", peers, |keys| {
        *keys == [made.public_key.to_string()]
    });
    let applied = |answer: &Result<wgctl::api::Peer, _>| answer.as_ref().is_ok_and(|peer| peer.applied);
    wait::until(
        "the plane shows it as applied",
        || admin.peer(&host.id, made.id),
        applied,
    )
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_one_peer_does_not_touch_the_others() {
    let lab = Lab::new().await;
    let host = lab.host("los-angeles", &["10.8.0.0/24"]).await;
    let steady = create_applied(&lab, &host, "steady").await;
    let changing = create_applied(&lab, &host, "changing").await;
    let admin = lab.admin();
    let device = lab.device("steady");
    device.connect(&admin.peer_configuration(&host.id, steady.id).await.unwrap());
    assert!(device.reaches("10.8.0.1"));
    let row = || {
        let mut rows = host.dump().into_iter();
        rows.find(|row| row[0] == steady.public_key.to_string()).unwrap()
    };
    let before = row();
    let patch = PeerPatch {
        server_allowed_ips: Some(vec!["10.60.0.0/24".parse().unwrap()]),
        ..PeerPatch::default()
    };
    assert!(admin.update_peer(&host.id, changing.id, &patch).await.unwrap().applied);
    let patch = PeerPatch {
        server_allowed_ips: Some(Vec::new()),
        ..PeerPatch::default()
    };
    assert!(admin.update_peer(&host.id, changing.id, &patch).await.unwrap().applied);
    let after = row();
    // The endpoint and the latest handshake (columns 3 and 5 of `wg show dump`) are lost together with a session.
    assert_eq!((&before[2], &before[4]), (&after[2], &after[4]));
    assert!(device.reaches("10.8.0.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_expires_by_the_agents_own_clock_while_the_plane_is_unreachable() {
    let mut lab = Lab::new().await;
    let host = lab.host("los-angeles", &["10.8.0.0/24"]).await;
    online(&lab, &host).await;
    let end = Timestamp::now().after(std::time::Duration::from_secs(30));
    let new = NewPeer {
        name: Some("guest".parse().unwrap()),
        expires_at: Some(end),
        ..NewPeer::default()
    };
    let peer = lab.admin().create_peer(&host.id, &new, None).await.unwrap();
    assert!(peer.applied && host.has_peer(&peer.public_key));
    lab.plane().kill();
    wait::until_blocking("the peer is gone", || host.has_peer(&peer.public_key), |there| !there);
    assert!(Timestamp::now() >= end, "the peer was removed before its expiry");
}
