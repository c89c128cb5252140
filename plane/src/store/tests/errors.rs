//! Tests with a disk that fails at any operation: nothing that was acknowledged is lost, and the store recovers.

use std::time::Duration;

use super::disk::{Disk, Fault};
use super::workload::{self, Failure, Log, SCRIPT, Step};
use super::{CACHE, moments, say};
use crate::fleet::Refusal;
use crate::store::StoreError;

/// The cache sizes: zero, so that every read can fail too, and one that holds everything.
const CACHES: [usize; 2] = [0, CACHE];

/// Runs the script on a disk that fails, repairs the disk and verifies the content. Then verifies it again after a
/// power cut. Returns the number of operations.
async fn fail(image: &Disk, log: &mut Log, cache: usize, fault: Fault, failure: Failure) -> u64 {
    let disk = image.after_power_cut(0);
    let when = format!("{fault:?}, {cache} bytes of cache");
    let fleet = workload::open_with(&disk, cache).unwrap();
    disk.breaks(fault);
    workload::run(&fleet, SCRIPT, log, failure).await;
    let operations = disk.mend();
    // The next write must succeed.
    let ready = fleet.ready().await;
    ready.unwrap_or_else(|error| panic!("{when}: {error}"));
    log.verify(&fleet, &when).await;
    // Data that was readable after a failed sync must either be on the disk by now or be gone.
    let left = disk.after_power_cut(operations);
    drop(fleet);
    let again = workload::open(&left).unwrap_or_else(|error| panic!("{when}, then a power cut: {error}"));
    log.verify(&again, &format!("{when}, then a power cut")).await;
    operations
}

/// Makes each operation in the script fail, one per run.
async fn fail_each(name: &str, fault: impl Fn(u64) -> Fault, failure: Failure) {
    let (image, before) = workload::furnished().await;
    let (mut total, mut runs, mut failures, mut panics) = (0, 0, 0, 0);
    for cache in CACHES {
        let operations = fail(&image, &mut before.clone(), cache, fault(u64::MAX), Failure::Stop).await;
        for at in moments(operations) {
            let mut log = before.clone();
            fail(&image, &mut log, cache, fault(at), failure).await;
            assert!(
                failure != Failure::TryAgain || log.unsure.is_empty(),
                "error at {at}: {log:?}"
            );
            failures += log.failures;
            panics += log.panics;
            runs += 1;
        }
        total += operations;
    }
    let figure = format!("{runs} of {total} operations, {failures} requests refused with 503, {panics} panics caught");
    say(name, runs, &figure);
}

#[tokio::test]
async fn a_single_error_at_any_operation_is_overcome_by_a_retry() {
    fail_each(
        "one I/O error, after which requests are sent again",
        |at| Fault::Once { at },
        Failure::TryAgain,
    )
    .await;
}

#[tokio::test]
async fn a_disk_that_keeps_failing_loses_nothing_and_the_store_recovers_once_it_is_repaired() {
    fail_each(
        "I/O errors that persist until the disk is repaired",
        |at| Fault::Lasting { at },
        Failure::GoOn,
    )
    .await;
}

#[tokio::test]
async fn a_change_whose_audit_record_cannot_be_written_is_not_made() {
    let (image, before) = workload::furnished().await;
    let (mut refused, mut at) = (0, 0);
    loop {
        at += 1;
        let disk = image.after_power_cut(0);
        let fleet = workload::open_with(&disk, 0).unwrap();
        disk.breaks(Fault::Once { at });
        let mut log = before.clone();
        workload::run(&fleet, &[&[Step::User("new@example.com")]], &mut log, Failure::GoOn).await;
        if disk.mend() < at {
            break;
        }
        fleet.ready().await.unwrap();
        // Compares the users with the audit log.
        log.verify(&fleet, &format!("error at {at}")).await;
        refused += log.failures;
    }
    let figure = format!("{refused} changes refused, no change without its record, no record without its change");
    say("an error at every operation of one audited change", at - 1, &figure);
}

#[tokio::test]
async fn readers_regain_access_to_the_database_even_if_nobody_writes() {
    let (image, before) = workload::furnished().await;
    let fleet = workload::open(&image).unwrap();
    image.breaks(Fault::Lasting { at: 1 });
    let mut log = before;
    workload::run(&fleet, &[&[Step::User("third@example.com")]], &mut log, Failure::GoOn).await;
    assert_eq!(log.failures, 1);
    let closed = fleet.servers().await.unwrap_err();
    assert!(matches!(closed, Refusal::Store(StoreError::Unavailable(_))), "{closed}");
    let began = std::time::Instant::now();
    image.mend();
    while fleet.servers().await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(5), "still closed after 5 s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let figure = format!("readers can read again after {} ms", began.elapsed().as_millis());
    say("the disk is repaired and nobody writes", 1, &figure);
}

#[tokio::test]
async fn a_held_view_does_not_prevent_the_database_from_being_reopened() {
    let (image, before) = workload::furnished().await;
    let fleet = workload::open(&image).unwrap();
    let (began, entered) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let held = {
        let store = fleet.store().clone();
        std::thread::spawn(move || {
            store.read(|tx| {
                tx.users()?;
                began.send(()).unwrap();
                released.recv().unwrap();
                tx.servers().map(|servers| servers.len())
            })
        })
    };
    entered.recv().unwrap();
    image.breaks(Fault::Once { at: 1 });
    let mut log = before;
    workload::run(&fleet, SCRIPT, &mut log, Failure::TryAgain).await;
    image.mend();
    assert!(log.failures > 0 && log.unsure.is_empty(), "{log:?}");
    release.send(()).unwrap();
    // The view may have read everything before the fault, but it must not see a later state.
    match held.join().unwrap() {
        Ok(servers) => assert_eq!(servers, 1),
        Err(error) => assert!(matches!(error, StoreError::Unavailable(_)), "{error}"),
    }
    log.verify(&fleet, "while a view was held").await;
}

#[tokio::test]
async fn changes_are_refused_on_a_full_disk_while_reads_continue() {
    let (image, before) = workload::furnished().await;
    let fleet = workload::open(&image).unwrap();
    image.fill_up_to(1000);
    let mut log = before;
    workload::run(&fleet, SCRIPT, &mut log, Failure::GoOn).await;
    assert!(log.failures >= SCRIPT.len() - 3, "{log:?}");
    let refused = fleet.ready().await.unwrap_err();
    assert!(refused.to_string().contains("make room"), "{refused}");
    assert_eq!(refused.code(), "storage_unavailable");
    log.verify(&fleet, "on a full disk").await;
    image.mend();
    fleet.ready().await.unwrap();
}

#[tokio::test]
async fn a_disk_that_fills_up_during_a_commit_loses_no_acknowledged_change() {
    let (image, before) = workload::furnished().await;
    for room in 0..40 {
        let disk = image.after_power_cut(0);
        let fleet = workload::open(&disk).unwrap();
        disk.limit_to(room * 4096);
        let mut log = before.clone();
        workload::run(&fleet, SCRIPT, &mut log, Failure::GoOn).await;
        log.verify(&fleet, "full").await;
        disk.mend();
        fleet.ready().await.unwrap();
        log.verify(&fleet, "room again").await;
    }
    say("the disk fills up during a commit", 40, "reads never stop");
}
