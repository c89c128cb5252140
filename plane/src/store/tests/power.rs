//! Tests of power cuts at any moment: acknowledged changes survive, and all others are either complete or absent.

use super::disk::{Dice, Disk, Fault};
use super::workload::{self, Failure, Log, SCRIPT};
use super::{rounds, say};

/// Cuts the power at operation `at` of the script, and again during the next start.
async fn cut(image: &Disk, before: &Log, at: u64) {
    let disk = image.after_power_cut(0);
    let mut log = before.clone();
    let fleet = workload::open(&disk).unwrap();
    disk.breaks(Fault::Cut { at });
    workload::run(&fleet, SCRIPT, &mut log, Failure::Stop).await;
    drop(fleet);
    let mut dice = Dice(at);
    for _ in 0..rounds(2) {
        let seed = dice.next();
        let left = disk.after_power_cut(seed);
        let when = format!("cut at operation {at}, seed {seed}");
        // The power is cut again, during the start.
        left.breaks(Fault::Cut { at: 1 + dice.throw(40) });
        drop(workload::open(&left));
        let left = left.after_power_cut(seed);
        let fleet = workload::open(&left).unwrap_or_else(|error| panic!("{when}: {error}"));
        log.verify(&fleet, &when).await;
    }
}

#[tokio::test]
async fn a_power_cut_at_any_operation_loses_no_acknowledged_change() {
    let (image, before) = workload::furnished().await;
    let (total, syncs) = operations(&image, &before).await;
    for at in 1..=total {
        cut(&image, &before, at).await;
    }
    say(
        "power cut at every operation, with unsynced writes lost, torn and reordered",
        total * rounds(2),
        &format!("{total} of {total} operations, {syncs} of them syncs; each cut again during the next start"),
    );
}

/// Returns the number of operations in the script, and the number of syncs among them.
async fn operations(image: &Disk, before: &Log) -> (u64, u64) {
    let disk = image.after_power_cut(0);
    let fleet = workload::open(&disk).unwrap();
    disk.breaks(Fault::Cut { at: u64::MAX });
    let mut log = before.clone();
    workload::run(&fleet, SCRIPT, &mut log, Failure::Stop).await;
    assert!(log.unsure.is_empty(), "{log:?}");
    let syncs = disk.syncs();
    let operations = disk.mend();
    log.verify(&fleet, "without a fault").await;
    (operations, syncs)
}

#[tokio::test]
async fn a_power_cut_during_creation_leaves_either_no_database_or_a_complete_one() {
    let mut at = 0;
    loop {
        at += 1;
        let disk = Disk::default();
        disk.breaks(Fault::Cut { at });
        drop(workload::open(&disk));
        let operations = disk.mend();
        let left = disk.after_power_cut(at);
        let fleet = workload::open(&left).unwrap_or_else(|error| panic!("cut at {at}: {error}"));
        Log::default().verify(&fleet, "created again").await;
        if operations < at {
            break;
        }
    }
    say("power cut while the database is being created", at, "every operation");
}
