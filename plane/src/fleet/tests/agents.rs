//! Agents: responses to polls, confirmations, and counters.

use std::collections::{BTreeMap, BTreeSet};

use wgctl::api::{Counters, PeerCounters, Report, ServerPatch};
use wgctl::config::PeerConfig;
use wgctl::name::Incarnation;
use wgctl::protocol::v1::{Ask, Failure, Hello, PeerConfiguration, Reply, Sealed};
use wgctl::{PresharedKey, PublicKey};

use super::*;
use crate::model::effect::Effect;

fn ids(change: &Change) -> (Vec<PeerId>, Vec<PeerId>) {
    match change {
        Change::Delta { upsert, remove, .. } => (upsert.iter().map(|peer| peer.id).collect(), remove.clone()),
        other => panic!("not a delta: {other:?}"),
    }
}

#[tokio::test]
async fn a_poll_gets_a_snapshot_then_deltas_then_nothing() {
    let scene = scene().await;
    let alice = scene.create(with_key("alice")).await.unwrap();
    let bob = scene.create(with_key("bob")).await.unwrap();
    let first = scene.poll(0).await;
    let Change::Snapshot { interface, peers } = &first.change else {
        panic!("not a snapshot: {:?}", first.change);
    };
    assert_eq!(interface.addresses[0].to_string(), "10.8.0.1/24");
    assert_eq!((peers.len(), first.revision), (2, 3));
    assert_eq!(scene.poll(first.revision).await.change, Change::Unchanged);

    let (fleet, server) = (&scene.fleet, &scene.server);
    fleet.enable_peer(&admin(), server, &alice.id, false).await.unwrap();
    fleet.remove_peer(&admin(), server, &bob.id).await.unwrap();
    let carol = scene.create(with_key("carol")).await.unwrap();
    let second = scene.poll(first.revision).await;
    assert_eq!(second.revision, first.revision + 3);
    let (upsert, mut remove) = ids(&second.change);
    remove.sort();
    let mut expected = vec![alice.id, bob.id];
    expected.sort();
    assert_eq!((upsert, remove), (vec![carol.id], expected));

    fleet.enable_peer(&admin(), server, &alice.id, true).await.unwrap();
    let third = scene.poll(second.revision).await;
    assert_eq!(ids(&third.change), (vec![alice.id], vec![]));

    let patch = ServerPatch {
        masquerade: Some(true),
        ..ServerPatch::default()
    };
    fleet.update_server(&admin(), server, patch).await.unwrap();
    let fourth = scene.poll(third.revision).await;
    assert!(
        matches!(&fourth.change, Change::Delta { interface: Some(i), upsert, .. } if i.masquerade && upsert.is_empty())
    );
}

#[tokio::test]
async fn a_poll_with_an_unknown_revision_gets_a_snapshot() {
    let scene = scene().await;
    scene.create(with_key("alice")).await.unwrap();
    let revision = scene.poll(0).await.revision;
    assert!(matches!(scene.poll(revision + 5).await.change, Change::Snapshot { .. }));
    let query = DesiredQuery {
        revision,
        incarnation: Some(Incarnation::random()),
        wait: 0,
    };
    let other_life = scene
        .fleet
        .desired(&scene.caller(), &scene.server, query)
        .await
        .unwrap();
    assert!(matches!(other_life.change, Change::Snapshot { .. }));
}

#[tokio::test]
async fn changes_not_known_to_be_applied_are_sent_again_after_a_restart() {
    let scene = scene().await;
    let first = scene.poll(0).await.revision;
    scene.apply(first).await;
    let alice = scene.create(with_key("alice")).await.unwrap();
    let second = scene.poll(first).await.revision;
    assert_eq!(scene.poll(second).await.change, Change::Unchanged);
    // Cutting off the agent simulates a restart of the plane. The second revision was never confirmed.
    scene.fleet.shared.relay.follow(&BTreeSet::from([Effect::AgentCutOff {
        server: scene.server.clone(),
    }]));
    assert_eq!(ids(&scene.poll(second).await.change).0, [alice.id]);
    assert_eq!(scene.poll(second).await.change, Change::Unchanged);
}

#[tokio::test]
async fn an_agent_that_is_ahead_of_an_older_copy_of_the_database_gets_a_snapshot() {
    let scene = scene().await;
    scene.create(with_key("alice")).await.unwrap();
    let revision = scene.poll(0).await.revision;
    scene.apply(revision).await;
    // The plane starts again with the file of this moment, and the agent has seen later changes in the meantime.
    scene.fleet.shared.relay.follow(&BTreeSet::from([Effect::AgentCutOff {
        server: scene.server.clone(),
    }]));
    assert!(matches!(scene.poll(revision + 2).await.change, Change::Snapshot { .. }));
}

#[tokio::test]
async fn a_server_recreated_with_the_same_id_continues_its_revisions() {
    let scene = scene().await;
    scene.create(with_key("alice")).await.unwrap();
    let before = scene.poll(0).await.revision;
    scene.fleet.remove_server(&admin(), &scene.server).await.unwrap();
    assert_eq!(scene.whose(&scene.token).await, None);
    assert_eq!(scene.fleet.server(&scene.server).unwrap_err().code(), "not_found");
    scene
        .fleet
        .create_server(&admin(), new_server(&["10.8.0.0/24"]), None)
        .await
        .unwrap();
    let now = scene.poll(before).await;
    assert!(now.revision > before);
    assert!(matches!(&now.change, Change::Snapshot { peers, .. } if peers.is_empty()));
    assert_eq!(
        scene.create(with_key("alice")).await.unwrap().address.to_string(),
        "10.8.0.2"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_poll_returns_as_soon_as_something_changes() {
    let scene = scene_with(&["10.8.0.0/24"], patient()).await;
    let revision = scene.poll(0).await.revision;
    scene.stock(32).await;
    let (fleet, server, me) = (scene.fleet.clone(), scene.server.clone(), scene.caller());
    let query = DesiredQuery {
        revision,
        incarnation: Some(fleet.store().incarnation().unwrap()),
        wait: 60,
    };
    let held = tokio::spawn(async move { fleet.desired(&me, &server, query).await.unwrap() });
    while scene.fleet.open_polls() == 0 {
        tokio::task::yield_now().await;
    }
    let (created, told) = tokio::join!(scene.create(with_key("alice")), async {
        let told = held.await.unwrap();
        scene.apply(told.revision).await;
        told
    });
    let created = created.unwrap();
    assert_eq!(ids(&told.change).0, [created.id]);
    assert!(created.applied && created.pending_since.is_none());
}

#[tokio::test]
async fn a_peer_refused_by_the_kernel_shows_the_reason_until_it_is_applied() {
    let scene = scene().await;
    let alice = scene.create(with_key("alice")).await.unwrap();
    let revision = scene.poll(0).await.revision;
    let failed = |revision, reason: Option<&str>| Applied {
        incarnation: scene.fleet.store().incarnation().unwrap(),
        revision,
        failed: reason
            .iter()
            .map(|r| Failure {
                client: alice.id,
                reason: (*r).to_owned(),
            })
            .collect(),
        interface_failed: None,
    };
    let show = async || scene.fleet.peer(&scene.server, &alice.id).unwrap();
    scene
        .fleet
        .applied(&scene.caller(), &scene.server, failed(revision, Some("no\nspace")))
        .await
        .unwrap();
    let shown = show().await;
    assert_eq!((shown.applied, shown.failed.as_deref()), (false, Some("no space")));
    // A confirmation that arrives after a later one changes nothing.
    scene
        .fleet
        .applied(&scene.caller(), &scene.server, failed(revision - 1, None))
        .await
        .unwrap();
    assert!(!show().await.applied);
    scene
        .fleet
        .applied(&scene.caller(), &scene.server, failed(revision, None))
        .await
        .unwrap();
    assert!(show().await.applied);
    let future = scene
        .fleet
        .applied(&scene.caller(), &scene.server, failed(revision + 1, None))
        .await;
    assert_eq!(future.unwrap_err().field(), Some("revision"));
}

#[tokio::test]
async fn prekeys_are_requested_whenever_the_stock_is_not_full() {
    let scene = scene().await;
    let asked = scene.poll(0).await;
    assert_eq!(asked.prekeys_wanted, 32);
    scene.stock(32).await;
    assert_eq!(scene.poll(0).await.prekeys_wanted, 0);
    for n in 0..32 {
        scene.create(named(&format!("c{n}"))).await.unwrap();
    }
    assert_eq!(scene.poll(0).await.prekeys_wanted, 32);
    scene.stock(5).await;
    scene.hello(hello(1)).await;
    assert_eq!(
        scene.poll(0).await.prekeys_wanted,
        32,
        "keys sealed for another host key are discarded"
    );
    scene.stock(5).await;
    scene.hello(hello(1)).await;
    assert_eq!(scene.poll(0).await.prekeys_wanted, 27);
    let too_many = scene.fleet.prekeys(&scene.caller(), &scene.server, prekeys(257)).await;
    assert_eq!(too_many.unwrap_err().field(), Some("prekeys"));
    assert_eq!(scene.fleet.server(&scene.server).unwrap().public_key, Some(key(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_comes_from_the_agent_and_each_view_is_recorded() {
    let scene = scene().await;
    scene.hello(hello(1)).await;
    scene.stock(1).await;
    let alice = scene.create(named("alice")).await.unwrap();
    let (fleet, server) = (&scene.fleet, &scene.server);
    let offline = fleet
        .configuration(&admin(), server, &alice.id, View::Configuration)
        .await;
    assert_eq!(offline.err().unwrap().code(), "agent_offline");
    scene.poll(0).await;
    let answering = async {
        loop {
            let desired = scene.poll(2).await;
            if let Some(request) = desired.requests.first() {
                let Ask::Configuration(asked) = &request.ask;
                assert_eq!(asked.id, alice.id);
                let text = opened(asked.clone()).render().to_string();
                return fleet
                    .reply(&scene.caller(), server, request.id, Reply::Configuration { text })
                    .unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    let caller = admin();
    let asking = fleet.configuration(&caller, server, &alice.id, View::Qrcode);
    let (answer, ()) = tokio::join!(asking, answering);
    let answer = answer.unwrap_or_else(|error| panic!("{error}"));
    let written: PeerConfig = answer.text.parse().unwrap();
    assert_eq!((answer.name.as_str(), written.name.as_str()), ("alice", "alice"));
    assert_eq!(written.private_key.unwrap().public_key(), alice.public_key);
    assert_eq!(scene.actions().await[0], "wg_client_qrcode_viewed");
    let bob = scene.create(with_key("bob")).await.unwrap();
    let no_key = fleet.configuration(&admin(), server, &bob.id, View::Qrcode).await;
    assert_eq!(no_key.err().unwrap().code(), "private_key_not_held");
}

fn key(n: u8) -> PublicKey {
    let mut bytes = [0; 32];
    bytes[0] = n;
    PublicKey::from_bytes(bytes).unwrap()
}

fn hello(n: u8) -> Hello {
    Hello {
        version: 1,
        agent_version: "test".to_owned(),
        public_key: key(n),
    }
}

/// Returns the configuration that an agent renders for a request. The sealed keys begin with the
/// plaintext, and the host's key is `key(1)`.
fn opened(asked: PeerConfiguration) -> PeerConfig {
    let first = |sealed: Sealed| <[u8; 32]>::try_from(&sealed.0[..32]).unwrap();
    PeerConfig {
        name: asked.name,
        private_key: asked.private_key.map(|sealed| PrivateKey::from_bytes(first(sealed))),
        addresses: asked.addresses,
        dns: asked.dns,
        mtu: asked.mtu,
        public_key: key(1),
        preshared_key: asked
            .preshared_key
            .map(|sealed| PresharedKey::from_bytes(first(sealed)).unwrap()),
        allowed_ips: asked.allowed_ips,
        endpoint: asked.endpoint,
        persistent_keepalive: asked.persistent_keepalive,
    }
}

fn report(server: &ServerId, counters: Option<Counters>) -> Report {
    Report {
        server_id: server.clone(),
        ping_ms: Some(12.4),
        peers: 5,
        transfer_rx: 1_048_576,
        transfer_tx: 524_288,
        counters,
        report_interval: None,
        sent_at: None,
    }
}

#[tokio::test]
async fn a_report_with_only_the_original_fields_sets_status_and_history() {
    let scene = scene().await;
    let before = scene.fleet.statuses().await.unwrap();
    assert_eq!(
        (before[0].online, before[0].ping_ms, before[0].reported_at),
        (false, None, None)
    );
    scene
        .fleet
        .report(&scene.caller(), &scene.server, report(&scene.server, None))
        .await
        .unwrap();
    let status = scene.fleet.statuses().await.unwrap().remove(0);
    assert!(status.online);
    assert_eq!(
        (status.ping_ms, status.peers, status.transfer_rx, status.transfer_tx),
        (Some(12.4), 5, 1_048_576, 524_288)
    );
    let mut pages = scene.fleet.history(HistoryQuery::default()).unwrap();
    let points = pages.next().await.unwrap().unwrap();
    assert_eq!(
        (points.len(), points[0].ping_ms, points[0].transfer_rx),
        (1, Some(12.4), 1_048_576)
    );
    assert!(pages.next().await.unwrap().is_none());
    scene.fleet.sweep().await.unwrap();
    assert!(
        scene
            .fleet
            .history(HistoryQuery::default())
            .unwrap()
            .next()
            .await
            .unwrap()
            .is_some()
    );
    scene.fleet.remove_server(&admin(), &scene.server).await.unwrap();
    assert!(
        scene
            .fleet
            .history(HistoryQuery::default())
            .unwrap()
            .next()
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn totals_stay_the_same_if_an_agent_that_sends_batches_has_nothing_to_count() {
    let scene = scene().await;
    let peers = BTreeMap::from([(
        PeerId::random(),
        PeerCounters {
            rx: 3_000_000,
            tx: 2_000_000,
            latest_handshake_at: None,
        },
    )]);
    let batch = Counters {
        incarnation: Incarnation::random(),
        sequence: 1,
        peers,
        total: None,
        samples: Vec::new(),
    };
    // The second message reports lower totals, as an interface does after its host has rebooted.
    for counters in [Some(batch), None] {
        let report = report(&scene.server, counters);
        scene
            .fleet
            .report(&scene.caller(), &scene.server, report)
            .await
            .unwrap();
    }
    let status = scene.fleet.statuses().await.unwrap().remove(0);
    assert_eq!((status.transfer_rx, status.transfer_tx), (3_000_000, 2_000_000));
}

#[tokio::test]
async fn a_batch_of_counters_is_counted_once() {
    let scene = scene().await;
    let alice = scene.create(with_key("alice")).await.unwrap();
    let life = Incarnation::random();
    let batch = |incarnation, sequence, at| Counters {
        incarnation,
        sequence,
        peers: BTreeMap::from([
            (
                alice.id,
                PeerCounters {
                    rx: 100,
                    tx: 10,
                    latest_handshake_at: at,
                },
            ),
            (
                PeerId::random(),
                PeerCounters {
                    rx: 1,
                    tx: 1,
                    latest_handshake_at: None,
                },
            ),
        ]),
        total: None,
        samples: Vec::new(),
    };
    let handshake = Some(Timestamp::from_unix(1_700_000_000));
    for (life, sequence, at) in [
        (life, 1, handshake),
        (life, 1, None),
        (life, 2, None),
        (life, 1, None),
        (Incarnation::random(), 1, None),
    ] {
        let sent = report(&scene.server, Some(batch(life, sequence, at)));
        scene.fleet.report(&scene.caller(), &scene.server, sent).await.unwrap();
    }
    let shown = scene.fleet.peer(&scene.server, &alice.id).unwrap();
    assert_eq!(
        (shown.transfer_rx, shown.transfer_tx, shown.latest_handshake_at),
        (300, 30, handshake)
    );
    let status = scene.fleet.statuses().await.unwrap().remove(0);
    assert_eq!((status.transfer_rx, status.transfer_tx), (303, 33));
}

#[tokio::test]
async fn a_removal_completes_even_if_the_caller_hangs_up() {
    use futures_util::FutureExt as _;
    let scene = scene().await;
    let (fleet, server) = (&scene.fleet, &scene.server);
    fleet
        .report(&scene.caller(), server, report(server, None))
        .await
        .unwrap();
    let caller = admin();
    assert!(fleet.remove_server(&caller, server).now_or_never().is_none());
    let gone = async || {
        let mut pages = fleet.history(HistoryQuery::default()).unwrap();
        fleet.server(server).is_err() && pages.next().await.unwrap().is_none()
    };
    let whole = async {
        while !gone().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), whole)
        .await
        .expect("the server and its history are removed");
}
