//! Processes that are killed without warning, at random moments, while changes are made.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sentrazone_tests::chance::Chance;
use sentrazone_tests::figures::{report, runs};
use wgctl::client::PlaneClient;
use wgctl::{PeerId, ServerId};

use crate::alone;
use crate::scene::{Scene, new_peer};

/// The number of peers that a writer keeps. A writer that has more removes the oldest one.
const KEPT: usize = 25;

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_killed_at_random_moments_affects_no_tunnel() {
    let _turn = alone().await;
    let mut chance = Chance::new("agent killed");
    let mut scene = Scene::new().await;
    let count = runs(200, 8);
    let writer = Writer::begin(&scene, 0);
    for _ in 0..count {
        chance.moment(Duration::from_millis(1500)).await;
        scene.restart_agent();
    }
    let written = writer.end().await;
    let back = scene.up_to_date().await;
    scene.agrees().await;
    let tally = scene.end();
    written.are_recorded(&scene.recorded_ids().await);
    let figure = format!(
        "{} changes acknowledged meanwhile, all in the kernel {:.1} s after the last start",
        written.acknowledged,
        back.as_secs_f64()
    );
    report("agent killed (SIGKILL) and restarted", count, &tally, &figure);
    assert!(tally.is_clean(), "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plane_killed_at_random_moments_keeps_acknowledged_changes_and_affects_no_tunnel() {
    let _turn = alone().await;
    let mut chance = Chance::new("plane killed");
    let mut scene = Scene::new().await;
    let count = runs(200, 8);
    let writers: Vec<Writer> = (0..4).map(|number| Writer::begin(&scene, number)).collect();
    for _ in 0..count {
        chance.moment(Duration::from_millis(1500)).await;
        scene.lab.plane().kill();
        scene.lab.start_plane().await;
    }
    let mut written = Vec::new();
    for writer in writers {
        written.push(writer.end().await);
    }
    let back = scene.up_to_date().await;
    scene.agrees().await;
    let tally = scene.end();
    let recorded = scene.recorded_ids().await;
    for written in &written {
        written.are_recorded(&recorded);
    }
    let acknowledged: usize = written.iter().map(|written| written.acknowledged).sum();
    let figure = format!(
        "0 of {acknowledged} acknowledged changes lost, all in the kernel {:.1} s after the last start",
        back.as_secs_f64()
    );
    report("plane killed (SIGKILL) and restarted", count, &tally, &figure);
    assert!(acknowledged > 0, "nothing was written");
    assert!(tally.is_clean(), "{tally:?}");
}

/// A client that creates and removes peers as fast as the plane responds.
struct Writer {
    ending: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Written>,
}

/// The outcomes of a writer's requests.
#[derive(Default)]
struct Written {
    acknowledged: usize,
    there: Vec<PeerId>,
    gone: Vec<PeerId>,
    refused: Vec<String>,
}

impl Writer {
    fn begin(scene: &Scene, number: usize) -> Self {
        let ending = Arc::new(AtomicBool::new(false));
        let (admin, server, told) = (scene.admin.clone(), scene.host.id.clone(), Arc::clone(&ending));
        let task = tokio::spawn(async move {
            let mut written = Written::default();
            let mut serial = 0;
            while !told.load(Ordering::Relaxed) {
                serial += 1;
                written
                    .step(&admin, &server, &format!("writer-{number}-{serial}"))
                    .await;
            }
            written
        });
        Self { ending, task }
    }

    async fn end(self) -> Written {
        self.ending.store(true, Ordering::Relaxed);
        let written = self.task.await.unwrap();
        assert!(written.refused.is_empty(), "refused: {:?}", written.refused);
        written
    }
}

impl Written {
    async fn step(&mut self, admin: &PlaneClient, server: &ServerId, name: &str) {
        match admin.create_peer(server, &new_peer(name), None).await {
            Ok(peer) => {
                self.acknowledged += 1;
                self.there.push(peer.id);
            }
            Err(error) => self.unanswered(&error).await,
        }
        if self.there.len() > KEPT {
            // If there is no response, the peer may or may not exist. The check ignores it in either case.
            let oldest = self.there.remove(0);
            match admin.remove_peer(server, oldest).await {
                Ok(()) => {
                    self.acknowledged += 1;
                    self.gone.push(oldest);
                }
                Err(error) => self.unanswered(&error).await,
            }
        }
    }

    /// Accepts an error that is caused by a plane that is down. A refusal by a running plane fails the test.
    async fn unanswered(&mut self, error: &wgctl::client::Error) {
        if error.status().is_some() {
            self.refused.push(error.to_string());
        }
        // The pause only avoids busy retries while the plane starts. The test does not depend on it.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    fn are_recorded(&self, recorded: &BTreeSet<PeerId>) {
        let missing = self.there.iter().filter(|id| !recorded.contains(id)).count();
        let returned = self.gone.iter().filter(|id| recorded.contains(id)).count();
        assert_eq!((missing, returned), (0, 0), "acknowledged changes were lost");
    }
}

impl Scene {
    async fn recorded_ids(&self) -> BTreeSet<PeerId> {
        let peers = self.admin.peers(&self.host.id).await.unwrap();
        peers.iter().map(|peer| peer.id).collect()
    }
}
