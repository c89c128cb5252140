//! A link between agent and plane that goes down and up repeatedly.

use std::collections::BTreeSet;
use std::time::Duration;

use sentrazone_tests::chance::Chance;
use sentrazone_tests::figures::{full, report, runs};
use sentrazone_tests::resources::Resources;
use sentrazone_tests::wait;
use wgctl::Timestamp;
use wgctl::client::HistoryQuery;

use crate::alone;
use crate::scene::Scene;

/// The number of seconds between reports. A server is shown as offline after three intervals, and no outage here is
/// that long.
const INTERVAL: u32 = 5;
/// The maximum length of an outage, and of the time between two outages.
const CUT: Duration = Duration::from_millis(1000);
/// The permitted memory growth, in percent.
const GROWTH: f64 = 5.0;

#[tokio::test(flavor = "multi_thread")]
async fn a_flapping_link_leaks_no_resources_and_shows_no_server_as_offline() {
    let _turn = alone().await;
    let mut chance = Chance::new("flapping");
    let mut scene = Scene::reporting_each(INTERVAL).await;
    let count = runs(1000, 20);
    let warm_up = count / 5;
    let begun = Timestamp::now();
    let mut offline = 0;
    scene.flap(&mut chance, warm_up, &mut offline).await;
    let before = scene.settled().await;
    scene.flap(&mut chance, count - warm_up, &mut offline).await;
    let after = scene.flat(before).await;
    let holes = scene.holes(begun).await;
    let tally = scene.end();
    let figure = format!(
        "{offline} of {count} statuses falsely offline, {holes} minutes missing from history; growth of plane and \
         agent: memory {:+.1} % and {:+.1} %, descriptors {:+} and {:+}, threads {:+} and {:+}",
        after[0].growth(&before[0]),
        after[1].growth(&before[1]),
        difference(after[0].descriptors, before[0].descriptors),
        difference(after[1].descriptors, before[1].descriptors),
        difference(after[0].threads, before[0].threads),
        difference(after[1].threads, before[1].threads),
    );
    report("link between agent and plane flapping", count, &tally, &figure);
    assert_eq!(
        (offline, holes),
        (0, 0),
        "falsely offline or missing from the history, although outages are far shorter than three report intervals"
    );
    // A few outages are not enough to show a trend.
    let grown = before
        .iter()
        .zip(&after)
        .any(|(before, after)| after.growth(before) >= GROWTH);
    assert!(!(full() && grown), "{before:?} {after:?}");
    assert!(tally.is_clean(), "{tally:?}");
}

fn difference<T: TryInto<i64>>(after: T, before: T) -> i64 {
    let number = |value: T| value.try_into().unwrap_or(i64::MAX);
    number(after) - number(before)
}

impl Scene {
    /// Takes the link down and brings it up again at random. Adds the number of statuses that show the server as
    /// offline to `offline`.
    async fn flap(&mut self, chance: &mut Chance, count: u32, offline: &mut u32) {
        for _ in 0..count {
            self.lab.link_plane(false);
            chance.moment(CUT).await;
            *offline += u32::from(!self.status().await.online);
            self.lab.link_plane(true);
            chance.moment(CUT).await;
        }
    }

    fn resources(&mut self) -> [Resources; 2] {
        [
            Resources::of(self.lab.plane().id()),
            Resources::of(self.host.agent().id()),
        ]
    }

    /// Waits until plane and agent are connected and two successive readings agree on descriptors and threads. Returns
    /// the resources of both programs.
    async fn settled(&mut self) -> [Resources; 2] {
        self.up_to_date().await;
        let mut last = self.resources();
        loop {
            let reported = self.status().await.reported_at;
            let status = || self.status();
            wait::until("the agent reports again", status, |status| {
                status.reported_at > reported
            })
            .await;
            let now = self.resources();
            let same = |(one, other): (&Resources, &Resources)| {
                (one.descriptors, one.threads) == (other.descriptors, other.threads)
            };
            if last.iter().zip(&now).all(same) {
                return now;
            }
            last = now;
        }
    }

    /// Waits until no more descriptors and threads are in use than in `before`. Returns the resources of both programs.
    async fn flat(&mut self, before: [Resources; 2]) -> [Resources; 2] {
        self.up_to_date().await;
        let held = || self.resources();
        wait::until_blocking("descriptors and threads are released", held, |now| {
            let flat = |(now, before): (&Resources, &Resources)| {
                now.descriptors <= before.descriptors && now.threads <= before.threads
            };
            now.iter().zip(&before).all(flat)
        })
    }

    /// Returns the number of whole minutes since `begun` that are missing from the history.
    async fn holes(&self, begun: Timestamp) -> usize {
        let query = HistoryQuery {
            since: Some(begun),
            step: Some(60),
            ..HistoryQuery::default()
        };
        let points = self.admin.history(&query).await.unwrap();
        let shown: BTreeSet<i64> = points.iter().map(|point| point.recorded_at.unix() / 60).collect();
        let now = Timestamp::now().unix() / 60;
        let whole = (begun.unix() / 60 + 1)..now;
        whole.filter(|minute| !shown.contains(minute)).count()
    }
}
