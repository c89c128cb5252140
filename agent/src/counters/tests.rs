//! Tests that every byte is counted once, across restarts of the kernel's counters, the agent and the plane.

use wgctl::PrivateKey;
use wgctl::device::Peer;

use super::*;

/// The uptime of the host.
const UP: Duration = Duration::from_secs(100);

fn key() -> PublicKey {
    PrivateKey::generate().unwrap().public_key()
}

fn dump(peers: &[(PublicKey, u64, u64)]) -> Device {
    let peer = |rx_bytes, tx_bytes| Peer {
        rx_bytes,
        tx_bytes,
        ..Peer::default()
    };
    Device {
        peers: peers.iter().map(|(key, rx, tx)| (*key, peer(*rx, *tx))).collect(),
        ..Device::default()
    }
}

fn total(counters: &mut Counters, id: PeerId) -> (u64, u64) {
    let batch = counters.batch();
    if let Some(batch) = &batch {
        counters.acknowledge(batch.sequence);
    }
    batch
        .and_then(|batch| batch.peers.get(&id).copied())
        .map_or((0, 0), |peer| (peer.rx, peer.tx))
}

#[test]
fn increments_add_up_to_the_kernels_totals_even_if_its_counters_restart() {
    let (key, id) = (key(), PeerId::random());
    let mut counters = Counters::default();
    let mut observe = |rx, tx| {
        counters.observe(&dump(&[(key, rx, tx)]), |_| Some(id), |_| true);
        total(&mut counters, id)
    };
    assert_eq!(observe(100, 10), (100, 10));
    assert_eq!(observe(100, 10), (0, 0));
    assert_eq!(observe(150, 15), (50, 5));
    assert_eq!(
        observe(20, 30),
        (20, 30),
        "the received bytes decreased: both counters restarted"
    );
}

#[test]
fn a_peer_that_was_removed_and_added_again_is_counted_from_zero() {
    let (key, id) = (key(), PeerId::random());
    let mut counters = Counters::default();
    counters.observe(&dump(&[(key, 100, 100)]), |_| Some(id), |_| true);
    counters.peer_is_new(&key, Some(id));
    counters.observe(&dump(&[(key, 300, 300)]), |_| Some(id), |_| true);
    assert_eq!(total(&mut counters, id), (400, 400));
}

#[test]
fn a_peer_that_is_missing_from_one_dump_is_not_counted_twice() {
    let (key, id) = (key(), PeerId::random());
    let mut counters = Counters::default();
    counters.observe(&dump(&[(key, 100, 100)]), |_| Some(id), |_| true);
    counters.observe(&dump(&[]), |_| Some(id), |_| true);
    counters.observe(&dump(&[(key, 110, 110)]), |_| Some(id), |_| true);
    assert_eq!(total(&mut counters, id), (110, 110));
}

#[test]
fn the_last_dump_before_a_removal_is_still_counted() {
    let (key, id) = (key(), PeerId::random());
    let mut counters = Counters::default();
    counters.observe(&dump(&[(key, 100, 100)]), |_| Some(id), |_| true);
    counters.observe(&dump(&[(key, 170, 180)]), |_| None, |_| true);
    assert_eq!(total(&mut counters, id), (170, 180));
}

#[test]
fn a_batch_stays_the_same_until_it_is_acknowledged_even_after_a_restart() {
    let (key, id) = (key(), PeerId::random());
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Counters::load(folder.path(), UP).unwrap(), None);
    let mut counters = Counters::default();
    counters.observe(&dump(&[(key, 100, 100)]), |_| Some(id), |_| true);
    let batch = counters.batch().unwrap();
    counters.observe(&dump(&[(key, 130, 130)]), |_| Some(id), |_| true);
    assert_eq!(counters.batch().unwrap(), batch);
    counters.save(folder.path(), UP).unwrap();

    let mut restarted = Counters::load(folder.path(), UP).unwrap().unwrap();
    assert_eq!(restarted.batch().unwrap(), batch);
    restarted.acknowledge(batch.sequence);
    restarted.observe(&dump(&[(key, 131, 131)]), |_| Some(id), |_| true);
    let next = restarted.batch().unwrap();
    assert_eq!((next.sequence, next.peers[&id].rx), (batch.sequence + 1, 31));
}

#[test]
fn a_key_that_moves_from_one_peer_to_another_is_counted_once() {
    let (key, one, two) = (key(), PeerId::random(), PeerId::random());
    let mut counters = Counters::default();
    counters.observe(&dump(&[(key, 100, 100)]), |_| Some(one), |_| true);
    assert_eq!(total(&mut counters, one), (100, 100));
    counters.observe(&dump(&[(key, 140, 140)]), |_| Some(two), |_| true);
    assert_eq!(total(&mut counters, two), (40, 40));
}

#[test]
fn a_reboot_is_detected_even_if_the_new_counters_exceed_the_old_ones() {
    let (key, id) = (key(), PeerId::random());
    let folder = tempfile::tempdir().unwrap();
    let mut counters = Counters::default();
    counters.observe(&dump(&[(key, 100, 100)]), |_| Some(id), |_| true);
    assert_eq!(total(&mut counters, id), (100, 100));
    counters.save(folder.path(), UP).unwrap();
    for (uptime, counted) in [(UP, (150, 60)), (Duration::from_secs(99), (250, 160))] {
        let mut restarted = Counters::load(folder.path(), uptime).unwrap().unwrap();
        restarted.observe(&dump(&[(key, 250, 160)]), |_| Some(id), |_| true);
        assert_eq!(total(&mut restarted, id), counted, "up for {uptime:?}");
    }
}

#[test]
fn after_the_file_is_lost_only_later_transfers_are_counted() {
    let (known, new, id) = (key(), key(), PeerId::random());
    let mut counters = Counters::resumed();
    counters.observe(&dump(&[(known, 1_000, 900)]), |_| Some(id), |_| true);
    assert_eq!(total(&mut counters, id), (0, 0), "the plane may already have these");
    counters.observe(&dump(&[(known, 1_010, 910), (new, 5, 6)]), |_| Some(id), |_| true);
    assert_eq!(total(&mut counters, id), (15, 16));
    let mut rebooted = Counters::resumed();
    rebooted.interface_is_new();
    rebooted.observe(&dump(&[(known, 7, 8)]), |_| Some(id), |_| true);
    assert_eq!(
        total(&mut rebooted, id),
        (7, 8),
        "an interface that the agent created starts at zero"
    );
}

#[test]
fn a_file_in_the_older_format_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let old = serde_json::json!({
        "incarnation": Incarnation::random(), "sequence": 4, "baseline": {}, "increments": {}, "sent": null
    });
    std::fs::write(folder.path().join(NAME), old.to_string()).unwrap();
    let mut counters = Counters::load(folder.path(), UP).unwrap().unwrap();
    let (key, id) = (key(), PeerId::random());
    counters.observe(&dump(&[(key, 1, 2)]), |_| Some(id), |_| true);
    let batch = counters.batch().unwrap();
    assert_eq!((batch.sequence, batch.total), (5, Some(Transfer { rx: 1, tx: 2 })));
}

/// The plane is unreachable for 72 h, and the agent is killed every hour.
#[test]
fn three_days_of_samples_without_a_plane_are_kept_in_order_and_within_limits() {
    let (key, id) = (key(), PeerId::random());
    let folder = tempfile::tempdir().unwrap();
    let begin = Timestamp::from_unix(1_800_000_000);
    let mut counters = Counters::default();
    counters.reported(begin);
    let (mut largest, mut writes, mut rx) = (0, 0, 0);
    let every = Duration::from_secs(15);
    for tick in 1..=72 * 240u32 {
        rx += 12_345_678;
        counters.observe(&dump(&[(key, rx, rx / 3)]), |_| Some(id), |_| true);
        counters.batch();
        counters.missed(begin.after(every * tick), None, every);
        if counters.is_unsaved() {
            writes += 1;
            // Writing the file about five thousand times would take minutes.
            counters.unsaved = false;
        }
        if tick % 240 == 0 {
            counters.save(folder.path(), UP).unwrap();
            largest = largest.max(std::fs::metadata(folder.path().join(NAME)).unwrap().len());
            counters = Counters::load(folder.path(), UP).unwrap().unwrap();
        }
    }
    println!("72 h without a plane: {writes} writes, a file of at most {largest} bytes");
    assert!(largest < 400_000, "{largest}");
    assert!(
        writes <= 72 * 3600 / 45 + 1,
        "{writes}: one for each sample, one for the batch"
    );

    let (mut sum, mut samples, mut batches) = (Transfer::default(), Vec::new(), 0);
    while let Some(batch) = counters.batch() {
        batches += 1;
        for peer in batch.peers.values() {
            (sum.rx, sum.tx) = (sum.rx + peer.rx, sum.tx + peer.tx);
        }
        assert_eq!(batch.total, Some(sum));
        samples.extend(batch.samples.clone());
        counters.acknowledge(batch.sequence);
        counters.observe(&dump(&[(key, rx, rx / 3)]), |_| Some(id), |_| true);
    }
    assert_eq!((sum.rx, sum.tx), (rx, rx / 3));
    assert!(!counters.has_backlog());
    assert!(samples.is_sorted_by(|a, b| a.at < b.at && a.rx < b.rx));
    let minutes: std::collections::BTreeSet<i64> = samples.iter().map(|sample| sample.at.unix() / 60).collect();
    println!(
        "{} samples from {} minutes in {batches} batches",
        samples.len(),
        minutes.len()
    );
    let (first, last) = (minutes.first().unwrap(), minutes.last().unwrap());
    assert_eq!(
        minutes.len(),
        usize::try_from(last - first + 1).unwrap(),
        "no minute is missing"
    );
    assert!(minutes.len() >= 4320);
}

#[test]
fn an_adopted_peer_is_counted_from_its_adoption_and_keeps_its_handshake() {
    let (key, id) = (key(), PeerId::random());
    let mut counters = Counters::default();
    counters.peer_is_adopted(&key, id, (1000, 100));
    let mut seen = dump(&[(key, 1030, 103)]);
    let at = Timestamp::from_unix(7);
    seen.peers.get_mut(&key).unwrap().latest_handshake = Some(at);
    counters.observe(&seen, |_| Some(id), |_| true);
    let told = counters.batch().unwrap().peers[&id];
    assert_eq!((told.rx, told.tx, told.latest_handshake_at), (30, 3, Some(at)));
    counters.peer_is_adopted(&key, id, (5000, 5000));
    counters.acknowledge(1);
    counters.observe(&dump(&[(key, 1031, 103)]), |_| Some(id), |_| true);
    assert_eq!(total(&mut counters, id), (1, 0), "an existing baseline is not replaced");
}
