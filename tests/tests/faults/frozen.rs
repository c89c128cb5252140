//! Frozen processes (SIGSTOP), which are alive and connected but do not respond.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use sentrazone_tests::figures::{report, runs};

use crate::alone;
use crate::scene::Scene;

/// The time within which an agent must be ready while its plane does not respond.
const READY: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_plane_prevents_no_agent_from_starting_and_affects_no_tunnel() {
    let _turn = alone().await;
    let mut scene = Scene::new().await;
    let count = runs(20, 2);
    let (mut ready, mut back) = (Duration::ZERO, Duration::ZERO);
    for run in 0..count {
        let peer = scene.add(&format!("peer-{run}")).await.unwrap();
        scene.lab.plane().signal(Signal::SIGSTOP);
        scene.host.agent().kill();
        let before = scene.host.agent().log().len();
        let begin = Instant::now();
        scene.host.start();
        scene.agent_says("running", before);
        ready = ready.max(begin.elapsed());
        assert!(scene.host.has_peer(&peer.public_key));
        scene.lab.plane().signal(Signal::SIGCONT);
        let begin = Instant::now();
        scene.route(&peer, &["10.60.0.0/24"]).await.unwrap();
        scene.agrees().await;
        back = back.max(begin.elapsed());
        scene.admin.remove_peer(&scene.host.id, peer.id).await.unwrap();
    }
    scene.up_to_date().await;
    let tally = scene.end();
    let figure = format!(
        "an agent that starts is ready after at most {:.1} s; the next change is in the kernel at most {:.1} s after \
         the plane continues",
        ready.as_secs_f64(),
        back.as_secs_f64()
    );
    report(
        "plane frozen (SIGSTOP), agent killed and restarted",
        count,
        &tally,
        &figure,
    );
    assert!(ready < READY, "{ready:?}");
    assert!(tally.is_clean(), "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_agent_delays_only_its_own_changes() {
    let _turn = alone().await;
    let mut scene = Scene::new().await;
    let count = runs(20, 1);
    let (mut answered, mut back) = (Duration::ZERO, Duration::ZERO);
    for run in 0..count {
        scene.host.agent().signal(Signal::SIGSTOP);
        let begin = Instant::now();
        let peer = scene.add(&format!("peer-{run}")).await.unwrap();
        answered = answered.max(begin.elapsed());
        assert!(!peer.applied && peer.pending_since.is_some(), "{peer:?}");
        scene.host.agent().signal(Signal::SIGCONT);
        back = back.max(scene.agrees().await);
        scene.up_to_date().await;
    }
    let tally = scene.end();
    let figure = format!(
        "a change made meanwhile is answered as pending after at most {:.1} s, and is in the kernel at most {:.1} s \
         after the agent continues",
        answered.as_secs_f64(),
        back.as_secs_f64()
    );
    report("agent frozen (SIGSTOP)", count, &tally, &figure);
    assert!(tally.is_clean(), "{tally:?}");
}
