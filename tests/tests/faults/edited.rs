//! One peer among many is edited repeatedly.

use std::time::{Duration, Instant};

use sentrazone_tests::figures::{report, runs, spread};
use wgctl::Timestamp;
use wgctl::api::{Peer, PeerPatch};
use wgctl::client::Error;

use crate::alone;
use crate::scene::{Scene, new_peer};

#[tokio::test(flavor = "multi_thread")]
async fn editing_one_peer_of_a_thousand_leaves_the_others_alone() {
    let _turn = alone().await;
    let mut scene = Scene::new().await;
    let (peers, count) = (runs(1000, 200), runs(500, 20));
    scene.fill(peers).await;
    let before = scene.received();
    let mut subject = scene.add("subject").await.unwrap();
    let mut took = Vec::new();
    for run in 0..count {
        let begin = Instant::now();
        let (server, id) = (&scene.host.id, subject.id);
        subject = match run % 6 {
            0 => scene.route(&subject, &["10.60.0.0/24", "10.61.0.0/24"]).await.unwrap(),
            1 => scene.admin.set_peer_enabled(server, id, false).await.unwrap(),
            2 => scene.admin.set_peer_enabled(server, id, true).await.unwrap(),
            3 => scene.route(&subject, &[]).await.unwrap(),
            4 => scene.expiring(&subject).await.unwrap(),
            _ => {
                scene.admin.remove_peer(server, id).await.unwrap();
                scene.add("subject").await.unwrap()
            }
        };
        assert!(subject.applied, "{subject:?}");
        took.push(begin.elapsed());
    }
    scene.agrees().await;
    let after = scene.received();
    assert!(
        before.iter().zip(&after).all(|(before, after)| before < after),
        "the witnesses' counters did not continue: {before:?} {after:?}"
    );
    let tally = scene.end();
    let figure = format!("{peers} peers; from request to kernel and response {}", spread(&took));
    report("one of many peers edited", count, &tally, &figure);
    assert!(tally.is_clean(), "{tally:?}");
}

impl Scene {
    /// Creates peers with their own keys, eight at a time.
    async fn fill(&self, peers: u32) {
        let mut calls = tokio::task::JoinSet::new();
        for number in 0..peers {
            if calls.len() >= 8 {
                calls.join_next().await.unwrap().unwrap();
            }
            let (admin, server) = (self.admin.clone(), self.host.id.clone());
            let new = new_peer(&format!("peer-{number}"));
            calls.spawn(async move { drop(admin.create_peer(&server, &new, None).await.unwrap()) });
        }
        calls.join_all().await;
    }

    async fn expiring(&self, peer: &Peer) -> Result<Peer, Error> {
        let patch = PeerPatch {
            expires_at: Some(Some(Timestamp::now().after(Duration::from_secs(86_400)))),
            ..PeerPatch::default()
        };
        self.admin.update_peer(&self.host.id, peer.id, &patch).await
    }

    /// Returns the number of bytes that the kernel has received from each witness since the witness's peer was created.
    fn received(&self) -> Vec<u64> {
        let rows = self.host.dump();
        let of = |key: String| rows.iter().find(|row| row[0] == key).unwrap()[5].parse().unwrap();
        let keys = self.witnesses.iter().map(|witness| witness.peer.public_key.to_string());
        keys.map(of).collect()
    }
}
