//! A damaged cache, while the plane cannot be reached.

use std::path::PathBuf;

use sentrazone_tests::chance::Chance;
use sentrazone_tests::figures::{report, runs};

use crate::alone;
use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_cache_removes_no_peer_and_is_reported() {
    let _turn = alone().await;
    let mut chance = Chance::new("damaged cache");
    let mut scene = Scene::new().await;
    for number in 0..8 {
        scene.add(&format!("peer-{number}")).await.unwrap();
    }
    scene.agrees().await;
    scene.host.agent().stop();
    let cache = scene.cache();
    let whole = std::fs::read(&cache).unwrap();
    let peers = scene.kernel();
    scene.lab.link_plane(false);
    let count = runs(200, 8);
    for run in 0..count {
        let wrong = mutated(&whole, run, &mut chance);
        std::fs::write(&cache, &wrong).unwrap();
        let before = scene.host.agent().log().len();
        scene.host.start();
        scene.agent_says("is damaged", before);
        scene.agent_says("running", before);
        assert_eq!(scene.kernel(), peers, "run {run}");
        scene.host.agent().kill();
        assert_eq!(
            std::fs::read(&cache).unwrap(),
            wrong,
            "the damaged cache was overwritten"
        );
    }
    assert_eq!(scene.kernel(), peers, "a peer was removed");
    scene.lab.link_plane(true);
    let late = scene.add("made-meanwhile").await.unwrap();
    scene.host.start();
    let back = scene.agrees().await;
    assert!(scene.kernel().contains_key(&late.public_key.to_string()));
    let tally = scene.end();
    let figure = format!(
        "0 of {} peers removed, each cache refused with a message; all peers are correct {:.1} s after the plane is \
         back",
        peers.len(),
        back.as_secs_f64()
    );
    report(
        "damaged cache, plane unreachable, agent killed and restarted",
        count,
        &tally,
        &figure,
    );
    assert!(tally.is_clean(), "{tally:?}");
}

/// Returns a damaged copy of the cache. `run` selects one of six kinds of damage.
fn mutated(whole: &[u8], run: u32, chance: &mut Chance) -> Vec<u8> {
    let mut place = || usize::try_from(chance.below(whole.len() as u64)).unwrap();
    match run % 6 {
        0 => Vec::new(),
        1 => whole[..place()].to_vec(),
        2 => {
            let (mut flipped, at) = (whole.to_vec(), place());
            flipped[at] ^= 1 << (at % 8);
            flipped
        }
        3 => (0..whole.len()).map(|_| u8::try_from(place() % 256).unwrap()).collect(),
        4 => vec![0; whole.len()],
        _ => {
            // An interrupted write, followed by other content.
            let mut torn = whole.to_vec();
            torn.truncate(place());
            torn.extend_from_slice(b"{\"peers\":{}}");
            torn
        }
    }
}

impl Scene {
    fn cache(&self) -> PathBuf {
        self.host.state().join("desired.cache")
    }
}
