//! The plane on a small file system that fills up.
//!
//! Needs root to mount a tmpfs. Without root the test prints that it was not run, or fails if
//! `SENTRAZONE_FAULTS` is set.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sentrazone_tests::wait;
use tokio::task::JoinSet;
use wgctl::ServerId;

use crate::ledger::{self, Life};
use crate::plane::{Plane, add_server};
use crate::say;

const WRITERS: usize = 8;

/// A separate file system. It is unmounted when dropped.
struct Small(PathBuf);

impl Small {
    fn mounted(at: PathBuf) -> Option<Self> {
        std::fs::create_dir(&at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs"])
            .arg(&at)
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(at))
    }

    /// Fills the file system to the last byte.
    fn fill(&self) {
        let mut ballast = File::create(self.ballast()).unwrap();
        let mut chunk = vec![1u8; 1 << 20];
        while !chunk.is_empty() {
            if ballast.write_all(&chunk).is_err() {
                chunk.truncate(chunk.len() / 2);
            }
        }
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    fn free(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn small(folder: &Path) -> Option<Small> {
    let small = Small::mounted(folder.join("small"));
    if small.is_none() {
        let promised = std::env::var_os("SENTRAZONE_FAULTS").is_some();
        assert!(!promised, "a tmpfs cannot be mounted: run this as root");
        println!("fault: the real plane's disk is full | not run: a tmpfs cannot be mounted, run this as root");
    }
    small
}

/// Writes from many clients, fills the disk, and waits until a write from each client has been refused.
async fn write_until_full(plane: &Plane, server: &ServerId, small: &Small) -> Vec<Life> {
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (client, server, acknowledged) = (plane.client(), server.clone(), Arc::clone(&acknowledged));
        writers.spawn(async move { ledger::write(client, server, writer, &acknowledged).await });
    }
    wait::until(
        "the writers are running",
        async || acknowledged.load(Ordering::Relaxed),
        |count| *count > 100,
    )
    .await;
    small.fill();
    let mut lives = Vec::new();
    while let Some(ended) = writers.join_next().await {
        let (written, error) = ended.unwrap();
        assert_eq!(error.status(), Some(503), "{error}");
        assert_eq!(error.code(), Some("storage_unavailable"), "{error}");
        assert!(error.to_string().contains("disk"), "{error}");
        lives.extend(written);
    }
    lives
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_reads_continue_and_changes_resume_once_there_is_space() {
    let folder = tempfile::tempdir().unwrap();
    let Some(small) = small(folder.path()) else { return };
    let mut plane = Plane::new(folder.path(), &small.0.join("state"));
    plane.start().await;
    let client = plane.client();
    let (mut recovered, mut refused, mut acknowledged) = (Duration::ZERO, 0, 0);
    let mut all = Vec::new();
    for round in 0..3 {
        let server = add_server(&client, &format!("full-{round}")).await;
        let mut lives = write_until_full(&plane, &server, &small).await;
        refused += lives.iter().filter(|life| life.unsure.is_some()).count();
        // Reads still work.
        for _ in 0..50 {
            client.peers(&server).await.unwrap();
            client.health().await.unwrap();
        }
        acknowledged += ledger::verify(&client, &server, &mut lives).await.acknowledged;
        let not_ready = client.ready().await.unwrap_err();
        assert_eq!(not_ready.code(), Some("storage_unavailable"), "{not_ready}");
        assert!(not_ready.to_string().contains("make room"), "{not_ready}");
        small.free();
        let began = Instant::now();
        wait::until("changes can be made", || client.ready(), Result::is_ok)
            .await
            .unwrap();
        recovered = recovered.max(began.elapsed());
        ledger::create_again(&client, &server, &mut lives).await;
        ledger::verify(&client, &server, &mut lives).await;
        all.push((server, lives));
    }
    assert!(recovered < Duration::from_secs(30), "{recovered:?}");
    plane.kill();
    plane.start().await;
    for (server, lives) in &mut all {
        ledger::verify(&plane.client(), server, lives).await;
    }
    plane.stop();
    let figure = format!(
        "{acknowledged} acknowledged, {refused} refused with 503, 150 of 150 reads succeeded meanwhile, \
         recovered by itself within {} ms",
        recovered.as_millis()
    );
    say("the real plane's disk is full", 3, &figure);
}
