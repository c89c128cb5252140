//! An upgrade: programs are stopped with SIGTERM and started again from another file.

use std::path::{Path, PathBuf};
use std::time::Instant;

use sentrazone_tests::figures::{report, runs, spread};
use sentrazone_tests::process::binary;

use crate::alone;
use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_of_agent_and_plane_affects_no_tunnel() {
    let _turn = alone().await;
    let mut scene = Scene::new().await;
    let count = runs(50, 3);
    let folder = scene.lab.folder().to_owned();
    let agents = [binary("sentrazone-agent"), other_file("sentrazone-agent", &folder)];
    let planes = [binary("sentrazone-plane"), other_file("sentrazone-plane", &folder)];
    let subject = scene.add("changed-meanwhile").await.unwrap();
    let (mut agent_away, mut plane_away) = (Vec::new(), Vec::new());
    for run in 1..=count as usize {
        let begin = Instant::now();
        let before = scene.host.agent().log().len();
        assert!(
            scene.host.agent().stop().success(),
            "SIGTERM did not end the agent cleanly"
        );
        let network = format!("10.60.{run}.0/24");
        scene.route(&subject, &[&network]).await.unwrap();
        scene.host.start_from(&agents[run % 2]);
        scene.agent_says("running", before);
        agent_away.push(begin.elapsed());
        scene.up_to_date().await;

        let begin = Instant::now();
        assert!(
            scene.lab.plane().stop().success(),
            "SIGTERM did not end the plane cleanly"
        );
        scene.lab.start_plane_from(&planes[run % 2]).await;
        plane_away.push(begin.elapsed());
        scene.up_to_date().await;
    }
    scene.agrees().await;
    let tally = scene.end();
    let figure = format!(
        "from SIGTERM to running again: agent {}; plane {}",
        spread(&agent_away),
        spread(&plane_away)
    );
    report("restart of agent and plane from another file", count, &tally, &figure);
    assert!(tally.is_clean(), "{tally:?}");
}

/// Copies the program to another file. Returns its path.
fn other_file(name: &str, folder: &Path) -> PathBuf {
    let other = folder.join(format!("{name}-next"));
    std::fs::copy(binary(name), &other).unwrap();
    other
}
