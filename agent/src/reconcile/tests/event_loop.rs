//! Tests of the event loop in virtual time: its timers and its end.

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use wgctl::Clock;

use super::*;
use crate::reconcile::{EventLoop, Handle, Input, Reading};

/// An event loop that runs as one of the test's tasks.
struct Running {
    rig: Rig,
    /// The total time by which the host's clock has jumped, in seconds.
    jump: Arc<std::sync::atomic::AtomicI64>,
    handle: Handle,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Starts an event loop on a host with these peers on its interface.
    async fn with(peers: &[v1::Peer]) -> Self {
        let rig = Rig::with(peers);
        let (begun, start) = (Instant::now(), rig.now);
        let jump = Arc::new(std::sync::atomic::AtomicI64::new(0));
        let ahead = Arc::clone(&jump);
        let clock = Clock::new(move || {
            let seconds = i64::try_from(begun.elapsed().as_secs()).unwrap();
            Timestamp::from_unix(start.unix() + seconds + ahead.load(std::sync::atomic::Ordering::Relaxed))
        });
        let (turns, handle) = EventLoop::new(reconciler(&rig.devices, &rig.host, &rig.secrets, &rig.folder), clock);
        let (ready, is_ready) = oneshot::channel();
        let task = tokio::spawn(turns.run(ready));
        is_ready.await.unwrap();
        Self {
            rig,
            jump,
            handle,
            task,
        }
    }

    fn jump(&self, seconds: i64) {
        self.jump.fetch_add(seconds, std::sync::atomic::Ordering::Relaxed);
    }

    /// Waits until the interface has these peers, and returns the time that this took.
    async fn until(&self, peers: &[&v1::Peer]) -> Duration {
        let begun = Instant::now();
        let there = || {
            let device = self.rig.devices.device(&name());
            device.is_some_and(|device| device.peers.into_keys().collect::<BTreeSet<_>>() == keys(peers))
        };
        while !there() {
            assert!(begun.elapsed() < Duration::from_secs(600), "not within ten minutes");
            sleep(Duration::from_millis(10)).await;
        }
        begun.elapsed()
    }

    async fn take(&self, desired: v1::Desired) {
        let (done, taken) = oneshot::channel();
        let input = Input::Desired {
            server: server(),
            desired: Box::new(desired),
            base: Base::Here,
            done,
        };
        assert!(self.handle.inbox.send(input).is_ok());
        taken.await.unwrap().unwrap();
    }

    async fn look(&self) -> Reading {
        let (reading, shown) = oneshot::channel();
        assert!(self.handle.inbox.send(Input::Inspect { reading }).is_ok());
        shown.await.unwrap()
    }
}

fn expiring(number: u8, at: i64) -> v1::Peer {
    v1::Peer {
        expires_at: Some(Timestamp::from_unix(at)),
        ..peer(number)
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_expires_by_the_hosts_own_clock_without_any_input() {
    let (stays, goes) = (peer(2), expiring(3, 1_800_000_010));
    let running = Running::with(&[stays.clone(), goes]).await;
    let took = running.until(&[&stays]).await;
    assert!(
        took >= Duration::from_secs(10) && took < Duration::from_millis(10_200),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_clock_jump_in_either_direction_is_detected_within_one_round() {
    let (stays, goes) = (peer(2), expiring(3, 1_800_050_000));
    let running = Running::with(&[stays.clone(), goes.clone()]).await;
    let ten_years = 10 * 365 * 86_400;
    for (jump, left) in [(86_400, vec![&stays]), (-86_400, vec![&stays, &goes])] {
        running.jump(jump);
        assert!(running.until(&left).await < Duration::from_secs(31));
    }
    for (jump, left) in [(ten_years, vec![&stays]), (-2 * ten_years, vec![&stays, &goes])] {
        running.jump(jump);
        assert!(running.until(&left).await < Duration::from_secs(31));
    }
}

#[tokio::test(start_paused = true)]
async fn external_changes_are_repaired_within_one_round_and_failures_are_retried_sooner() {
    let one = peer(2);
    let running = Running::with(std::slice::from_ref(&one)).await;
    running.rig.devices.delete(&name());
    let took = running.until(&[&one]).await;
    assert!(took < Duration::from_secs(31), "{took:?}");
    running.rig.devices.fail_reads(1);
    let reading = running.look().await;
    assert_eq!(reading.peers, 0, "the interface could not be read");
    assert!(running.handle.verdict.borrow().interface_failed.is_some());
    let failed = Instant::now();
    let mut verdict = running.handle.verdict.clone();
    let healed = verdict.wait_for(|verdict| verdict.interface_failed.is_none());
    assert!(healed.await.is_ok());
    assert!(failed.elapsed() < Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn every_reading_contains_the_batch_until_it_is_acknowledged() {
    let one = peer(2);
    let running = Running::with(std::slice::from_ref(&one)).await;
    assert!(running.rig.devices.set_counters(&name(), &one.public_key, 100, 10));
    let first = running.look().await.counters.unwrap();
    assert_eq!((first.peers[&one.id].rx, first.peers[&one.id].tx), (100, 10));
    let page = running.handle.metrics.page().unwrap();
    assert!(
        page.contains("sentrazone_agent_received_bytes_total 100\n")
            && page.contains("sentrazone_agent_sent_bytes_total 10\n"),
        "{page}"
    );
    assert_eq!(running.look().await.counters.as_ref(), Some(&first));
    let counted = Input::CountersAcknowledged {
        sequence: first.sequence,
    };
    assert!(running.handle.inbox.send(counted).is_ok());
    assert_eq!(running.look().await.counters, None);
}

#[tokio::test(start_paused = true)]
async fn unsaved_data_is_written_when_the_loop_ends() {
    let running = Running::with(&[peer(2)]).await;
    let folder = running.rig.folder.path().to_owned();
    let (cache, counters) = (folder.join("desired.cache"), folder.join("counters.json"));
    std::fs::remove_file(&cache).unwrap();
    std::fs::create_dir_all(cache.join("in the way")).unwrap();
    let newer = answer(running.rig.life, running.rig.revision + 1, snapshot(&[peer(3)]));
    running.take(newer).await;
    std::fs::remove_dir_all(&cache).unwrap();
    assert!(!counters.exists());
    assert!(running.handle.inbox.send(Input::Stop).is_ok());
    running.task.await.unwrap();
    assert_eq!(
        cache::load(&folder).unwrap().unwrap().revision,
        running.rig.revision + 1
    );
    assert!(counters.exists());
}

#[tokio::test(start_paused = true)]
async fn a_failed_cache_write_is_retried() {
    let running = Running::with(&[peer(2)]).await;
    let cache = running.rig.folder.path().join("desired.cache");
    std::fs::remove_file(&cache).unwrap();
    std::fs::create_dir_all(cache.join("in the way")).unwrap();
    sleep(Duration::from_secs(20)).await;
    let newer = answer(running.rig.life, running.rig.revision + 1, snapshot(&[peer(3)]));
    running.take(newer).await;
    let begun = Instant::now();
    std::fs::remove_dir_all(&cache).unwrap();
    while !cache.is_file() {
        assert!(begun.elapsed() < Duration::from_secs(600), "not within ten minutes");
        sleep(Duration::from_millis(10)).await;
    }
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_secs(29) && took < Duration::from_secs(31),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_loop_ends_on_request_or_when_its_handle_is_dropped_and_removes_no_peers() {
    let one = peer(2);
    let running = Running::with(std::slice::from_ref(&one)).await;
    assert!(running.handle.inbox.send(Input::Stop).is_ok());
    running.task.await.unwrap();
    assert_eq!(running.rig.keys(), keys(&[&one]));
    let Running { rig, handle, task, .. } = Running::with(std::slice::from_ref(&one)).await;
    drop(handle);
    task.await.unwrap();
    assert_eq!(rig.keys(), keys(&[&one]));
}

#[tokio::test(start_paused = true)]
async fn the_log_shows_changes_but_not_every_round() {
    let one = peer(2);
    let mut running = Running::with(std::slice::from_ref(&one)).await;
    sleep(Duration::from_secs(120)).await;
    assert_eq!(captured_log::with("configured addresses"), 1);
    running.rig.devices.fail_reads(4);
    sleep(Duration::from_secs(120)).await;
    assert_eq!(captured_log::with("the interface is not in the desired state"), 1);
    assert_eq!(
        captured_log::with("everything is in the desired state"),
        1,
        "logged once after the recovery"
    );
    running.rig.devices.refuse(one.public_key);
    running.rig.meddle(vec![meddling(
        wgctl::device::plan::ChangeKind::Remove,
        one.public_key,
        &[],
    )]);
    sleep(Duration::from_secs(120)).await;
    assert_eq!(captured_log::with("peers are not in the desired state"), 1);
}
