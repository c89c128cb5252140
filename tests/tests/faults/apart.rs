//! Plane and agent are cut off from each other: traffic continues without them, earlier decisions take effect, and
//! later ones are shown as pending.

use std::time::{Duration, Instant};

use sentrazone_tests::figures::{report, runs};
use sentrazone_tests::wait;
use wgctl::Timestamp;
use wgctl::api::NewPeer;

use crate::alone;
use crate::scene::{Scene, new_peer};

#[tokio::test(flavor = "multi_thread")]
async fn while_cut_off_tunnels_work_expiry_is_enforced_and_pending_changes_are_shown() {
    let _turn = alone().await;
    let mut scene = Scene::new().await;
    let count = runs(10, 1);
    let (mut late, mut effective) = (Duration::ZERO, Duration::ZERO);
    for run in 0..count {
        let disabled = scene.add(&format!("disabled-{run}")).await.unwrap();
        let end = Timestamp::now().after(Duration::from_secs(12));
        let guest = NewPeer {
            expires_at: Some(end),
            ..new_peer(&format!("guest-{run}"))
        };
        let guest = scene.admin.create_peer(&scene.host.id, &guest, None).await.unwrap();
        assert!(guest.applied && scene.host.has_peer(&guest.public_key), "{guest:?}");

        scene.lab.link_plane(false);
        let there = || scene.host.has_peer(&guest.public_key);
        wait::until_blocking("the agent removes the expired peer by its own clock", there, |there| {
            !there
        });
        assert!(Timestamp::now() >= end, "the peer was removed before its expiry");
        late = late.max(Timestamp::now().since(end));

        scene.host.agent().kill();
        let told = scene
            .admin
            .set_peer_enabled(&scene.host.id, disabled.id, false)
            .await
            .unwrap();
        assert!(!told.applied && told.pending_since.is_some(), "{told:?}");
        assert!(
            scene.host.has_peer(&disabled.public_key),
            "the peer was removed although no agent is running"
        );
        let begin = Instant::now();
        scene.lab.link_plane(true);
        scene.host.start();
        let there = || scene.host.has_peer(&disabled.public_key);
        wait::until_blocking("the disable takes effect", there, |there| !there);
        effective = effective.max(begin.elapsed());
        let shown = || async { scene.admin.peer(&scene.host.id, disabled.id).await.unwrap() };
        wait::until("the plane shows it as applied", shown, |peer| {
            peer.applied && peer.pending_since.is_none()
        })
        .await;
    }
    let tally = scene.end();
    let figure = format!(
        "expiry at most {} s late by the agent's own clock; a client that is disabled meanwhile is shown as pending, \
         and the change takes effect at most {:.1} s after the agent starts",
        late.as_secs(),
        effective.as_secs_f64()
    );
    report("plane unreachable, then agent stopped too", count, &tally, &figure);
    assert!(tally.is_clean(), "{tally:?}");
}
