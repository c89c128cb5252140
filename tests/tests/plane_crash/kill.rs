//! The plane is killed repeatedly (kill -9) while 32 writers make changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sentrazone_tests::wait;
use tokio::task::JoinSet;
use wgctl::ServerId;
use wgctl::client::PlaneClient;

use crate::ledger::{self, Count, Life};
use crate::plane::{Plane, add_server};
use crate::say;

const WRITERS: usize = 32;

fn rounds() -> usize {
    std::env::var("SENTRAZONE_FAULT_ROUNDS").map_or(5, |rounds| rounds.parse().expect("a number"))
}

/// Runs the writers and kills the plane after this many acknowledged changes. Returns the requested changes.
async fn killed_after(plane: &mut Plane, server: &ServerId, acknowledgements: usize) -> Vec<Life> {
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (client, server, acknowledged) = (plane.client(), server.clone(), Arc::clone(&acknowledged));
        writers.spawn(async move { ledger::write(client, server, writer, &acknowledged).await });
    }
    wait::until(
        "enough changes are acknowledged",
        async || acknowledged.load(Ordering::Relaxed),
        |count| *count >= acknowledgements,
    )
    .await;
    plane.kill();
    let mut lives = Vec::new();
    while let Some(ended) = writers.join_next().await {
        let (written, error) = ended.unwrap();
        // The writers have ended because the plane was killed, not because it refused a request.
        assert_eq!(error.status(), None, "{error}");
        lives.extend(written);
    }
    lives
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plane_killed_under_32_writers_loses_no_acknowledged_change() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::new(folder.path(), &folder.path().join("state"));
    let mut starts = vec![plane.start().await];
    let (mut total, mut again) = (Count::default(), 0);
    let mut all: Vec<(ServerId, Vec<Life>)> = Vec::new();
    for round in 0..rounds() {
        let server = add_server(&plane.client(), &format!("round-{round}")).await;
        // The kills are spread over the duration of a batch and over the growth of the database.
        let mut lives = killed_after(&mut plane, &server, 1 + round * 37 % 400).await;
        starts.push(plane.start().await);
        let client = plane.client();
        let count = ledger::verify(&client, &server, &mut lives).await;
        again += ledger::create_again(&client, &server, &mut lives).await;
        ledger::verify(&client, &server, &mut lives).await;
        total.acknowledged += count.acknowledged;
        total.whole += count.whole;
        total.absent += count.absent;
        all.push((server, lives));
    }
    verify_all(&plane.client(), &mut all).await;
    report(&mut starts, total, again, &plane);
}

/// Checks that later rounds have not lost any change from earlier ones.
async fn verify_all(client: &PlaneClient, all: &mut [(ServerId, Vec<Life>)]) {
    let Some((first, _)) = all.first() else { return };
    let records = ledger::records_since(client, first).await;
    for (server, lives) in all {
        ledger::verify_with(client, server, lives, &records).await;
    }
}

fn report(starts: &mut [Duration], total: Count, again: usize, plane: &Plane) {
    starts.sort();
    let (median, slowest) = (starts[starts.len() / 2], starts[starts.len() - 1]);
    let figure = format!(
        "{} acknowledged, of {} unanswered {} complete and {} absent; {again} creations sent again, 0 performed twice; \
         ready after {} ms (median), {} ms (slowest), database {} KiB",
        total.acknowledged,
        total.whole + total.absent,
        total.whole,
        total.absent,
        median.as_millis(),
        slowest.as_millis(),
        plane.database_size() / 1024,
    );
    say("kill -9 under 32 writers", rounds(), &figure);
}
