//! Backfill of history, in virtual time.

use std::sync::atomic::AtomicI64;

use wgctl::Clock;
use wgctl::api::{Counters, HistoryPoint, PastSample, PeerCounters, Report, SAMPLES_AT_ONCE, Transfer};
use wgctl::name::Incarnation;

use super::*;

/// A plane whose clock is set by the test, and an agent that counts one peer's traffic.
struct Counting {
    scene: Scene,
    now: Arc<AtomicI64>,
    peer: PeerId,
    life: Incarnation,
    sequence: u64,
    total: Transfer,
}

impl Counting {
    async fn new() -> Self {
        let now = Arc::new(AtomicI64::new(1_800_000_017));
        let clock = {
            let now = Arc::clone(&now);
            Clock::new(move || Timestamp::from_unix(now.load(Ordering::Relaxed)))
        };
        let settings = Settings {
            apply_timeout: Duration::ZERO,
            clock,
            ..Settings::default()
        };
        let scene = scene_with(&["10.8.0.0/24"], settings).await;
        let peer = scene.create(with_key("alice")).await.unwrap().id;
        Self {
            scene,
            now,
            peer,
            life: Incarnation::random(),
            sequence: 0,
            total: Transfer::default(),
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_unix(self.now.load(Ordering::Relaxed))
    }

    fn pass(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Returns the next batch: the peer's bytes since the last batch, and samples.
    fn batch(&mut self, bytes: u64, samples: Vec<PastSample>) -> Counters {
        self.sequence += 1;
        self.total.rx += bytes;
        let grown = PeerCounters {
            rx: bytes,
            ..PeerCounters::default()
        };
        Counters {
            incarnation: self.life,
            sequence: self.sequence,
            peers: [(self.peer, grown)].into(),
            total: Some(self.total),
            samples,
        }
    }

    async fn report(&self, counters: Option<Counters>) {
        let report = Report {
            server_id: self.scene.server.clone(),
            ping_ms: None,
            peers: 1,
            transfer_rx: 9,
            transfer_tx: 9,
            counters,
            report_interval: Some(15),
            sent_at: Some(self.now()),
        };
        self.scene
            .fleet
            .report(&self.scene.caller(), &self.scene.server, report)
            .await
            .unwrap();
    }

    async fn history(&self) -> Vec<HistoryPoint> {
        let query = HistoryQuery {
            step: Some(60),
            ..HistoryQuery::default()
        };
        let mut pages = self.scene.fleet.history(query).unwrap();
        let mut points = Vec::new();
        while let Some(page) = pages.next().await.unwrap() {
            points.extend(page);
        }
        points
    }
}

fn sample(at: Timestamp, rx: u64) -> PastSample {
    PastSample {
        at,
        ping_ms: Some(3.0),
        rx,
        tx: 0,
    }
}

#[tokio::test]
async fn an_outage_of_three_days_leaves_no_gap_in_the_history() {
    let mut agent = Counting::new().await;
    let batch = agent.batch(1_000, Vec::new());
    agent.report(Some(batch)).await;
    let begin = agent.now();
    let silent = 72 * 3600 - 60;
    agent.pass(silent);
    let mut samples: Vec<_> = (1..=silent / 45)
        .map(|n| {
            sample(
                begin.after(Duration::from_secs(u64::try_from(n * 45).unwrap())),
                1_000 + u64::try_from(n).unwrap(),
            )
        })
        .collect();
    let last = samples.last().unwrap().rx;
    let mut bytes = last - 1_000;
    let mut batches = 0;
    while !samples.is_empty() {
        let some = samples.drain(..samples.len().min(SAMPLES_AT_ONCE)).collect();
        let batch = agent.batch(std::mem::take(&mut bytes), some);
        // Each response is lost once, so the batch is sent again.
        agent.report(Some(batch.clone())).await;
        agent.report(Some(batch)).await;
        batches += 1;
    }
    let points = agent.history().await;
    println!("{} minutes in {batches} batches", points.len());
    assert_eq!(points.len(), 4320);
    let minutes: Vec<i64> = points.iter().map(|point| point.recorded_at.unix()).collect();
    assert!(
        minutes.windows(2).all(|pair| pair[1] == pair[0] + 60),
        "each minute appears once"
    );
    assert!(points.is_sorted_by_key(|point| point.transfer_rx));
    assert_eq!((points[0].transfer_rx, points[4319].transfer_rx), (1_000, last));
    let peer = agent.scene.fleet.peer(&agent.scene.server, &agent.peer).unwrap();
    assert_eq!(peer.transfer_rx, last, "each batch is counted once");
}

#[tokio::test]
async fn late_samples_overwrite_nothing_and_do_not_make_a_server_appear_online() {
    let mut agent = Counting::new().await;
    let batch = agent.batch(500, Vec::new());
    agent.report(Some(batch)).await;
    let (first, reported) = (agent.history().await, agent.now());
    agent.pass(600);
    assert!(!agent.scene.fleet.statuses().await.unwrap()[0].online);
    let late = [0, 1, 61, 62, 600, 601].map(|after| sample(reported.after(Duration::from_secs(after)), 500 + after));
    let batch = agent.batch(100, late.to_vec());
    agent.report(Some(batch)).await;
    let points = agent.history().await;
    let values: Vec<_> = points.iter().map(|point| (point.transfer_rx, point.ping_ms)).collect();
    assert_eq!(points[0], first[0], "values that were reported on time are kept");
    assert_eq!(
        values,
        [(500, None), (562, Some(3.0)), (600, None)],
        "two samples in the same minute make one point"
    );
    let status = agent.scene.fleet.statuses().await.unwrap().remove(0);
    assert_eq!((status.reported_at, status.transfer_rx), (Some(agent.now()), 600));
}

#[tokio::test]
async fn totals_stay_the_same_if_an_agent_has_nothing_new_to_count() {
    let mut agent = Counting::new().await;
    let batch = agent.batch(500, Vec::new());
    agent.report(Some(batch)).await;
    agent.report(None).await;
    let status = agent.scene.fleet.statuses().await.unwrap().remove(0);
    assert_eq!((status.transfer_rx, status.transfer_tx), (500, 0));
}

#[tokio::test]
async fn a_batch_with_too_many_samples_is_refused() {
    let mut agent = Counting::new().await;
    let batch = agent.batch(1, vec![sample(agent.now(), 1); SAMPLES_AT_ONCE + 1]);
    let report = Report {
        server_id: agent.scene.server.clone(),
        ping_ms: None,
        peers: 0,
        transfer_rx: 0,
        transfer_tx: 0,
        counters: Some(batch),
        report_interval: None,
        sent_at: Some(agent.now()),
    };
    let refused = agent
        .scene
        .fleet
        .report(&agent.scene.caller(), &agent.scene.server, report)
        .await;
    assert_eq!(refused.unwrap_err().field(), Some("counters.samples"));
}
