//! The causes of a change: the agent gets the ids of the requests that led to it.

use uuid::Uuid;
use wgctl::api::{PeerPatch, ServerPatch};

use super::*;

fn by(request: Uuid) -> Caller {
    Caller {
        request: Some(request),
        ..admin()
    }
}

#[tokio::test]
async fn a_delta_names_the_requests_that_caused_it_in_order() {
    let scene = scene().await;
    let alice = scene.create(with_key("alice")).await.unwrap();
    let bob = scene.create(with_key("bob")).await.unwrap();
    let (fleet, server) = (&scene.fleet, &scene.server);
    let base = scene.poll(0).await;
    assert!(base.caused_by.is_empty(), "a snapshot has no causes");

    let [one, two, three] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    fleet.enable_peer(&by(one), server, &alice.id, false).await.unwrap();
    // Another change by the same request.
    fleet.enable_peer(&by(one), server, &bob.id, false).await.unwrap();
    // A change that is not sent to the agent.
    let renamed = PeerPatch {
        name: Some("carol".parse().unwrap()),
        ..PeerPatch::default()
    };
    fleet.update_peer(&by(three), server, &bob.id, renamed).await.unwrap();
    let patch = ServerPatch {
        masquerade: Some(true),
        ..ServerPatch::default()
    };
    fleet.update_server(&by(two), server, patch).await.unwrap();
    // A change without a request.
    fleet.enable_peer(&admin(), server, &bob.id, true).await.unwrap();

    let news = scene.poll(base.revision).await;
    assert_eq!(news.caused_by, [one, two]);
    assert!(
        matches!(&news.change, Change::Delta { interface: Some(_), upsert, remove } if (upsert.len(), remove.len()) == (1, 1))
    );
    assert!(scene.poll(news.revision).await.caused_by.is_empty());
    assert!(scene.poll(0).await.caused_by.is_empty());
}

#[tokio::test]
async fn a_delta_with_very_many_causes_names_only_the_latest() {
    let scene = scene().await;
    let alice = scene.create(with_key("alice")).await.unwrap();
    let base = scene.poll(0).await;
    let requests: Vec<Uuid> = (0..70).map(|_| Uuid::new_v4()).collect();
    for (turn, request) in requests.iter().enumerate() {
        let enabled = turn % 2 == 1;
        let (fleet, server) = (&scene.fleet, &scene.server);
        fleet
            .enable_peer(&by(*request), server, &alice.id, enabled)
            .await
            .unwrap();
    }
    assert_eq!(scene.poll(base.revision).await.caused_by, requests[6..]);
}
