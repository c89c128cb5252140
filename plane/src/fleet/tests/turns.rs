//! Agents that make excessive demands on the writer, the log or the stock of prekeys.

use std::collections::BTreeMap;
use std::sync::mpsc;

use futures_util::FutureExt as _;
use wgctl::PublicKey;
use wgctl::api::{Counters, PeerCounters, Report};
use wgctl::name::Incarnation;
use wgctl::protocol::v1::Adoption;

use super::*;

/// Keeps the writer busy until the returned sender is dropped.
async fn busy(fleet: &Fleet) -> mpsc::Sender<()> {
    let (end, ended) = mpsc::channel();
    let (begin, begun) = tokio::sync::oneshot::channel();
    let store = fleet.store().clone();
    tokio::spawn(async move {
        let work = move |_: &dyn LossyWrite| {
            let _ = begin.send(());
            let _ = ended.recv();
            Ok::<_, Refusal>(())
        };
        store.record(work).await
    });
    begun.await.unwrap();
    end
}

fn key() -> PublicKey {
    PrivateKey::generate().unwrap().public_key()
}

fn hello(public_key: PublicKey) -> Hello {
    Hello {
        version: 1,
        agent_version: "test".to_owned(),
        public_key,
    }
}

#[tokio::test]
async fn an_agent_that_hangs_up_has_no_more_work_in_progress_than_one_that_waits() {
    let scene = scene().await;
    let (fleet, server, caller) = (&scene.fleet, &scene.server, scene.caller());
    let alice = scene.create(with_key("alice")).await.unwrap();
    let life = Incarnation::random();
    let report = |sequence| Report {
        server_id: server.clone(),
        ping_ms: None,
        peers: 1,
        transfer_rx: 0,
        transfer_tx: 0,
        counters: Some(Counters {
            incarnation: life,
            sequence,
            peers: BTreeMap::from([(
                alice.id,
                PeerCounters {
                    rx: 1,
                    tx: 0,
                    latest_handshake_at: None,
                },
            )]),
            total: None,
            samples: Vec::new(),
        }),
        report_interval: None,
        sent_at: None,
    };
    let end = busy(fleet).await;
    for sequence in 1..=50 {
        assert!(fleet.report(&caller, server, report(sequence)).now_or_never().is_none());
    }
    drop(end);
    fleet.report(&caller, server, report(100)).await.unwrap();
    // The two reports that had a write permit before the agent hung up, and the last one.
    assert_eq!(fleet.statuses().await.unwrap()[0].transfer_rx, 3);
}

#[tokio::test]
async fn a_refused_adoption_does_not_wait_for_the_writer() {
    let scene = scene().await;
    let fleet = &scene.fleet;
    let new = NewServer {
        id: "berlin".parse().unwrap(),
        adopt: true,
        ..new_server(&["10.9.0.0/24"])
    };
    let other = fleet.create_server(&admin(), new, None).await.unwrap().server.id;
    let adoption: Adoption = serde_json::from_value(serde_json::json!({
        "public_key": key(),
        "peers": [{"id": PeerId::random(), "public_key": key(), "allowed_ips": ["192.0.2.0/24"]}],
    }))
    .unwrap();
    let _end = busy(fleet).await;
    let caller = Caller::standing(Actor::Agent(other.clone()), None);
    let refused = tokio::time::timeout(Duration::from_secs(20), fleet.adopt(&caller, &other, adoption));
    assert_eq!(refused.await.unwrap().unwrap_err().code(), "adoption_refused");
}

#[tokio::test]
async fn a_repeated_adoption_does_not_wait_for_the_writer() {
    let scene = scene().await;
    let (fleet, server, caller) = (&scene.fleet, &scene.server, scene.caller());
    let own = key();
    fleet.hello(&caller, server, hello(own)).await.unwrap();
    let adoption = Adoption {
        public_key: own,
        listen_port: None,
        peers: Vec::new(),
    };
    let _end = busy(fleet).await;
    let adopted = tokio::time::timeout(Duration::from_secs(20), fleet.adopt(&caller, server, adoption));
    assert!(adopted.await.unwrap().unwrap().obstacles.is_empty());
}

#[tokio::test]
async fn an_agents_reads_do_not_wait_for_its_pending_writes() {
    let scene = scene().await;
    let (fleet, server, caller) = (&scene.fleet, &scene.server, scene.caller());
    let _end = busy(fleet).await;
    let mut stuck: Vec<_> = (0..10)
        .map(|_| Box::pin(fleet.prekeys(&caller, server, prekeys(1))))
        .collect();
    assert!(stuck.iter_mut().all(|prekeys| prekeys.now_or_never().is_none()));
    let terms = tokio::time::timeout(Duration::from_secs(20), fleet.terms(server));
    assert_eq!(terms.await.unwrap().unwrap().server_id, *server);
}

#[tokio::test]
async fn a_refused_host_key_does_not_count_as_a_new_key() {
    let scene = scene().await;
    let (fleet, server, caller) = (&scene.fleet, &scene.server, scene.caller());
    let taken = with_key("alice");
    let theirs = taken.public_key.unwrap();
    scene.create(taken).await.unwrap();
    for _ in 0..30 {
        let refused = fleet.hello(&caller, server, hello(theirs)).await.unwrap_err();
        assert_eq!(refused.code(), "public_key_taken");
    }
    fleet.hello(&caller, server, hello(key())).await.unwrap();
}

#[tokio::test]
async fn a_host_may_change_its_key_only_so_often() {
    let scene = scene().await;
    let (fleet, server, caller) = (&scene.fleet, &scene.server, scene.caller());
    let mut last = key();
    let mut said = 0;
    let refused = loop {
        let next = key();
        match fleet.hello(&caller, server, hello(next)).await {
            Ok(_) => last = next,
            Err(refused) => break refused,
        }
        said += 1;
        assert!(said < 100);
    };
    assert_eq!(refused.code(), "too_many_requests");
    assert!(refused.retry_after().is_some_and(|seconds| (1..=60).contains(&seconds)));
    let recorded = scene.actions().await;
    assert_eq!(
        recorded
            .iter()
            .filter(|action| *action == "server_key_recorded")
            .count(),
        said
    );
    // The recorded key does not count as a new key.
    fleet.hello(&caller, server, hello(last)).await.unwrap();
    assert_eq!(fleet.server(server).unwrap().public_key, Some(last));
}

#[tokio::test]
async fn a_prekey_with_the_id_of_the_server_itself_is_refused() {
    let scene = scene().await;
    let mut two = prekeys(2);
    two.prekeys[1].id = PeerId::from_bytes([0; 16]);
    let refused = scene.fleet.prekeys(&scene.caller(), &scene.server, two).await;
    assert_eq!(refused.unwrap_err().field(), Some("prekeys[1].id"));
    assert_eq!(scene.poll(0).await.prekeys_wanted, 32);
}
