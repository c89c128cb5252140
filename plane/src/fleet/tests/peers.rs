//! Peers: the uniqueness of names, keys and addresses, and repeated requests.

use std::collections::BTreeSet;

use wgctl::api::PeerPatch;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_clients_created_at_once_have_different_addresses_and_keys() {
    let scene = scene_with(&["10.8.0.0/24"], patient()).await;
    let _agent = scene.agent();
    let creating: Vec<_> = (0..64)
        .map(|n| {
            let (fleet, server) = (scene.fleet.clone(), scene.server.clone());
            let new = named(&format!("client-{n}"));
            tokio::spawn(async move {
                // The agent may not have polled yet.
                while !fleet.shared.relay.waiters(&server).connected() {
                    tokio::task::yield_now().await;
                }
                fleet.create_peer(&admin(), &server, new, None).await
            })
        })
        .collect();
    let mut clients = Vec::new();
    for created in creating {
        clients.push(created.await.unwrap().unwrap());
    }
    let addresses: BTreeSet<_> = clients.iter().map(|client| client.address).collect();
    let keys: BTreeSet<_> = clients.iter().map(|client| client.public_key).collect();
    let ids: BTreeSet<_> = clients.iter().map(|client| client.id).collect();
    assert_eq!((addresses.len(), keys.len(), ids.len()), (64, 64, 64));
    assert_eq!(
        addresses.last().unwrap().to_string(),
        "10.8.0.65",
        "the lowest addresses are assigned"
    );
    assert!(clients.iter().all(|client| client.applied));
}

#[tokio::test]
async fn without_prekeys_or_an_agent_a_client_is_refused_and_nothing_is_written() {
    let scene = scene().await;
    let refused = scene.create(named("alice")).await.unwrap_err();
    assert_eq!(refused.code(), "agent_offline");
    assert_eq!(scene.actions().await, ["server_created"]);
    scene.stock(1).await;
    let alice = scene.create(named("alice")).await.unwrap();
    assert!(alice.private_key_held && alice.preshared_key && !alice.applied);
    assert_eq!(alice.pending_since, Some(alice.updated_at));
    assert_eq!(scene.create(named("bob")).await.unwrap_err().code(), "agent_offline");
    let bob = scene.create(with_key("bob")).await.unwrap();
    assert!(!bob.private_key_held && !bob.preshared_key);
}

#[tokio::test]
async fn names_keys_and_addresses_are_unique_on_a_server() {
    let scene = scene().await;
    let alice = scene.create(with_key("alice")).await.unwrap();
    let code = |refused: Result<Peer, Refusal>| refused.unwrap_err().code();
    assert_eq!(code(scene.create(with_key("alice")).await), "name_taken");
    let same_key = NewPeer {
        public_key: Some(alice.public_key),
        ..with_key("bob")
    };
    assert_eq!(code(scene.create(same_key).await), "public_key_taken");
    let same_address = NewPeer {
        address: Some(alice.address),
        ..with_key("bob")
    };
    assert_eq!(code(scene.create(same_address).await), "address_taken");
    let server_address = NewPeer {
        address: Some("10.8.0.1".parse().unwrap()),
        ..with_key("bob")
    };
    assert_eq!(code(scene.create(server_address).await), "invalid_field");
    for (nets, expected) in [
        (&["10.8.0.2/32"][..], "overlapping_networks"),
        (&["10.0.0.0/8"], "overlapping_networks"),
        (&["0.0.0.0/0"], "invalid_field"),
        (&["192.168.0.0/24", "192.168.0.128/25"], "overlapping_networks"),
        (&["10.8.0.3/32"], "overlapping_networks"),
    ] {
        let behind = NewPeer {
            server_allowed_ips: Some(nets.iter().map(|net| net.parse().unwrap()).collect()),
            ..with_key("bob")
        };
        assert_eq!(code(scene.create(behind).await), expected, "{nets:?}");
    }
    assert_eq!(scene.actions().await, ["wg_client_created", "server_created"]);
}

#[tokio::test]
async fn a_disabled_client_keeps_its_address_and_a_removed_one_frees_it() {
    let scene = scene_with(&["10.8.0.0/29", "fd00::/64"], Settings::default()).await;
    let mut clients = Vec::new();
    for n in 0..5 {
        clients.push(scene.create(with_key(&format!("c{n}"))).await.unwrap());
    }
    let full = scene.create(with_key("late")).await.unwrap_err();
    assert_eq!(full.code(), "pool_exhausted");
    assert!(full.to_string().contains("10.8.0.0/29"), "{full}");
    let (fleet, server) = (&scene.fleet, &scene.server);
    fleet
        .enable_peer(&admin(), server, &clients[1].id, false)
        .await
        .unwrap();
    assert_eq!(
        scene.create(with_key("late")).await.unwrap_err().code(),
        "pool_exhausted"
    );
    fleet.remove_peer(&admin(), server, &clients[3].id).await.unwrap();
    let late = scene.create(with_key("late")).await.unwrap();
    assert_eq!(late.addresses, clients[3].addresses);
    assert_eq!(late.address.to_string(), "10.8.0.5");
    assert_eq!(late.addresses[1].to_string(), "fd00::5");
}

#[tokio::test]
async fn networks_behind_a_client_may_change_but_not_overlap() {
    let scene = scene().await;
    let behind = |nets: &[&str]| PeerPatch {
        server_allowed_ips: Some(nets.iter().map(|net| net.parse().unwrap()).collect()),
        ..PeerPatch::default()
    };
    let (fleet, server) = (&scene.fleet, &scene.server);
    let alice = scene.create(with_key("alice")).await.unwrap().id;
    let bob = scene.create(with_key("bob")).await.unwrap().id;
    let update = async |id, nets: &[&str]| fleet.update_peer(&admin(), server, id, behind(nets)).await;
    update(&alice, &["192.168.0.0/24", "10.8.0.64/26"]).await.unwrap();
    let taken = update(&bob, &["192.168.0.0/25"]).await.unwrap_err();
    assert!(taken.to_string().contains("alice"), "{taken}");
    // A peer may get a network that overlaps only its own previous networks.
    let moved = update(&alice, &["192.168.0.0/23", "10.8.0.96/27"]).await.unwrap();
    assert_eq!(moved.server_allowed_ips.len(), 2);
    update(&bob, &["10.8.0.64/27"]).await.unwrap();
    let wanted = NewPeer {
        address: Some("10.8.0.100".parse().unwrap()),
        ..with_key("carol")
    };
    assert_eq!(scene.create(wanted).await.unwrap_err().code(), "address_taken");
}

#[tokio::test]
async fn clients_are_listed_in_order_of_creation() {
    let scene = scene().await;
    for name in ["zoe", "adam", "Mia", "mia-phone", "bob"] {
        scene.create(with_key(name)).await.unwrap();
    }
    let list = async |query| {
        let page = scene.fleet.peers(&scene.server, query).await.unwrap();
        let names: Vec<_> = page.peers.iter().map(|client| client.name.to_string()).collect();
        (names, page.next)
    };
    assert_eq!(
        list(PeersQuery::default()).await.0,
        ["zoe", "adam", "Mia", "mia-phone", "bob"]
    );
    let page = |after| PeersQuery {
        limit: Some(2),
        after,
        ..PeersQuery::default()
    };
    let (names, first) = list(page(None)).await;
    assert_eq!(names, ["zoe", "adam"]);
    let (names, next) = list(page(first)).await;
    assert_eq!(names, ["Mia", "mia-phone"]);
    assert_eq!(list(page(next)).await, (vec!["bob".to_owned()], None));
    // Paging reaches the end even if peers are removed in the meantime.
    let all = scene.fleet.peers(&scene.server, page(None)).await.unwrap().peers;
    for client in all {
        scene
            .fleet
            .remove_peer(&admin(), &scene.server, &client.id)
            .await
            .unwrap();
    }
    let (names, end) = list(page(first)).await;
    assert_eq!((names, end), (vec!["Mia".to_owned(), "mia-phone".to_owned()], next));
    let q = PeersQuery {
        q: Some("MIA".to_owned()),
        ..PeersQuery::default()
    };
    assert_eq!(list(q).await.0, ["Mia", "mia-phone"]);
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_response() {
    let scene = scene().await;
    scene.stock(2).await;
    let create = async |new, body| {
        let caller = admin();
        let made = scene.fleet.create_peer(&caller, &scene.server, new, Some(once(body)));
        made.await
    };
    let first = create(named("alice"), 1).await.unwrap();
    assert_eq!(create(named("alice"), 1).await.unwrap().id, first.id);
    assert_eq!(
        create(named("bob"), 2).await.unwrap_err().code(),
        "idempotency_conflict"
    );
    assert_eq!(scene.actions().await, ["wg_client_created", "server_created"]);
    scene
        .fleet
        .remove_peer(&admin(), &scene.server, &first.id)
        .await
        .unwrap();
    assert_eq!(create(named("alice"), 1).await.unwrap().id, first.id);
}

#[tokio::test]
async fn a_repeated_request_returns_the_agent_token_which_is_never_stored_in_plaintext() {
    let scene = scene().await;
    let mut new = new_server(&["10.9.0.0/24"]);
    new.id = "berlin".parse().unwrap();
    let first = scene
        .fleet
        .create_server(&admin(), new.clone(), Some(once(1)))
        .await
        .unwrap();
    let again = scene
        .fleet
        .create_server(&admin(), new.clone(), Some(once(1)))
        .await
        .unwrap();
    assert_eq!(first.agent_token, again.agent_token);
    assert_eq!(
        scene
            .fleet
            .create_server(&admin(), new, None)
            .await
            .err()
            .unwrap()
            .code(),
        "server_exists"
    );
    assert!(first.agent_token.starts_with("szagent_") && first.agent_token.len() == 51);
    let whose = async |token: &str| scene.whose(token).await;
    assert_eq!(whose(&first.agent_token).await, Some(first.server.id.clone()));
    assert_eq!(whose(&scene.token).await, Some(scene.server.clone()));
    let rotated = scene
        .fleet
        .rotate_agent_token(&admin(), &first.server.id, TokenRotation::default())
        .await
        .unwrap();
    assert_eq!(whose(&first.agent_token).await, None);
    assert_eq!(whose(&rotated.agent_token).await, Some(first.server.id));
    let file = std::fs::read(scene._folder.path().join("plane.redb")).unwrap();
    let holds = |text: &str| file.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(holds("berlin"));
    for token in [&first.agent_token, &scene.token, &rotated.agent_token] {
        assert!(!holds(token));
    }
}

#[tokio::test]
async fn a_patch_that_changes_nothing_is_not_a_change() {
    let scene = scene().await;
    let alice = scene.create(with_key("alice")).await.unwrap();
    let (fleet, server) = (&scene.fleet, &scene.server);
    let same = fleet.enable_peer(&admin(), server, &alice.id, true).await.unwrap();
    assert_eq!(same, alice);
    let patch = PeerPatch {
        name: Some("alice-laptop".parse().unwrap()),
        mtu: Some(Some(1300)),
        persistent_keepalive: Some(Some(0)),
        ..PeerPatch::default()
    };
    let before = scene.poll(0).await.revision;
    let renamed = fleet.update_peer(&admin(), server, &alice.id, patch).await.unwrap();
    assert_eq!(
        (renamed.name.as_str(), renamed.mtu, renamed.persistent_keepalive),
        ("alice-laptop", Some(1300), None)
    );
    assert_eq!(scene.poll(0).await.revision, before, "the kernel is not affected");
    scene.create(with_key("alice")).await.unwrap();
    fleet.enable_peer(&admin(), server, &alice.id, false).await.unwrap();
    let expected = [
        "wg_client_disabled",
        "wg_client_created",
        "wg_client_updated",
        "wg_client_created",
        "server_created",
    ];
    assert_eq!(scene.actions().await, expected);
}

#[tokio::test]
async fn refusals_of_invalid_values_name_the_field() {
    let scene = scene().await;
    let past = NewPeer {
        expires_at: Some(Timestamp::from_unix(1)),
        ..with_key("a")
    };
    assert_eq!(scene.create(past).await.unwrap_err().field(), Some("expiresAt"));
    let mtu = NewPeer {
        mtu: Some(100),
        ..with_key("a")
    };
    assert_eq!(scene.create(mtu).await.unwrap_err().field(), Some("mtu"));
    assert_eq!(
        scene.create(NewPeer::default()).await.unwrap_err().field(),
        Some("name")
    );
    let nowhere = "nowhere".parse().unwrap();
    let refused = scene.fleet.create_peer(&admin(), &nowhere, with_key("a"), None).await;
    assert_eq!(refused.unwrap_err().code(), "not_found");
}
