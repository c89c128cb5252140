//! Power cuts while changes are being confirmed: every confirmed change must survive.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use sentrazone_tests::counts::{figure, runs};
use wgctl::api::Peer;

use crate::host::Host;

const WORKERS: usize = 8;
/// The range of the random time before the power is cut, in milliseconds.
const WITHIN: u64 = 2500;

/// The last confirmed state of each peer, by public key: true if enabled, `None` during a change
/// that may or may not have been carried out.
type Confirmed = Mutex<BTreeMap<String, Option<bool>>>;

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmed_change_survives_a_power_cut() {
    let rounds = runs(2, 50);
    let mut host = Host::enrolled().await;
    host.converged().await;
    let confirmed = Confirmed::default();
    let (mut lost, mut changes, mut seconds) = (0, 0, Vec::new());
    for round in 0..rounds {
        cut_amid_changes(&mut host, round, &confirmed).await;
        host.plane.take_away();
        host.machine.start();
        seconds.push(host.restored().from_agent);
        let there = host.peers();
        for (key, enabled) in confirmed.lock().unwrap().iter() {
            changes += usize::from(enabled.is_some());
            let wrong = enabled.is_some_and(|enabled| enabled != there.contains(key));
            if wrong {
                eprintln!("round {round}: {key} was confirmed with enabled = {enabled:?}, which has been lost");
            }
            lost += usize::from(wrong);
        }
        host.plane_is_back().await;
        settle(&host, &confirmed).await;
    }
    seconds.sort_unstable_by(f64::total_cmp);
    let told = format!(
        "{changes} confirmed changes checked, agent ready in {:.2} s (median)",
        seconds[seconds.len() / 2]
    );
    figure("power cut right after confirmations", rounds, lost, &told);
    assert_eq!(lost, 0, "confirmed changes were lost");
}

/// Creates, disables and enables peers with several workers until the power is cut at a random moment.
async fn cut_amid_changes(host: &mut Host, round: usize, confirmed: &Confirmed) {
    let moment = Duration::from_millis(300 + getrandom::u64().unwrap() % WITHIN);
    let workers = (0..WORKERS).map(|worker| change_on(host, round, worker, confirmed));
    tokio::select! {
        () = tokio::time::sleep(moment) => {}
        _ = futures_util::future::join_all(workers) => {}
    }
    host.machine.cut();
}

async fn change_on(host: &Host, round: usize, worker: usize, confirmed: &Confirmed) {
    let admin = host.plane.admin();
    for number in 0.. {
        let peer = host.create(&format!("peer-{round}-{worker}-{number}"), None).await;
        note(confirmed, &peer);
        for enabled in [false, true] {
            confirmed.lock().unwrap().insert(peer.public_key.to_string(), None);
            if let Ok(peer) = admin.set_peer_enabled(&host.id, peer.id, enabled).await {
                note(confirmed, &peer);
            }
        }
    }
}

fn note(confirmed: &Confirmed, peer: &Peer) {
    let said = peer.applied.then_some(peer.enabled);
    confirmed.lock().unwrap().insert(peer.public_key.to_string(), said);
}

/// Reads the outcome of the changes that were in progress when the power was cut.
async fn settle(host: &Host, confirmed: &Confirmed) {
    for peer in host.plane.admin().peers(&host.id).await.unwrap() {
        note(confirmed, &peer);
    }
}
