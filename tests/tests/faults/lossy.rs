//! A bad network between agent and plane: lost, late, duplicated and reordered packets.

use std::time::{Duration, Instant};

use sentrazone_tests::figures::{report, runs};

use crate::alone;
use crate::scene::Scene;

const BAD: [&str; 18] = [
    "tc",
    "qdisc",
    "add",
    "dev",
    "DEVICE",
    "root",
    "netem",
    "delay",
    "500ms",
    "100ms",
    "loss",
    "30%",
    "duplicate",
    "10%",
    "reorder",
    "25%",
    "limit",
    "10000",
];

#[tokio::test(flavor = "multi_thread")]
async fn changes_made_over_a_bad_network_arrive_and_affect_no_tunnel() {
    let _turn = alone().await;
    let mut scene = Scene::new().await;
    let count = runs(20, 1);
    let (mut under, mut healed) = (Duration::ZERO, Duration::ZERO);
    let mut changes = 0;
    for run in 0..count {
        scene.lab.plane_link(&BAD);
        changes += scene.changes(run, "under").await;
        under = under.max(scene.agrees().await);
        changes += scene.changes(run, "healed").await;
        scene.lab.plane_link(&["tc", "qdisc", "del", "dev", "DEVICE", "root"]);
        let begin = Instant::now();
        scene.agrees().await;
        scene.up_to_date().await;
        healed = healed.max(begin.elapsed());
    }
    let tally = scene.end();
    let figure = format!(
        "{changes} changes; the kernel matches the record after at most {:.1} s under loss, and at most {:.1} s after \
         the network heals",
        under.as_secs_f64(),
        healed.as_secs_f64()
    );
    let name = "30 % loss, 500 ms delay, duplication and reordering, in both directions between agent and plane";
    report(name, count, &tally, &figure);
    assert!(tally.is_clean(), "{tally:?}");
}

impl Scene {
    /// Creates peers, changes one and removes one. Returns the number of changes.
    async fn changes(&self, run: u32, when: &str) -> usize {
        let mut made = Vec::new();
        for number in 0..3 {
            made.push(self.add(&format!("{when}-{run}-{number}")).await.unwrap());
        }
        self.admin
            .set_peer_enabled(&self.host.id, made[0].id, false)
            .await
            .unwrap();
        self.admin.remove_peer(&self.host.id, made[1].id).await.unwrap();
        made.len() + 2
    }
}
