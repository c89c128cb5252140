//! After an outage of the plane, the history has no gap and no byte is missing.

use std::time::Duration;

use sentrazone_tests::lab::{Host, Lab};
use sentrazone_tests::wait;
use wgctl::Timestamp;
use wgctl::client::HistoryQuery;

use crate::create_applied;

/// Returns the numbers of bytes that the kernel has received from and sent to all peers.
fn kernel(host: &Host) -> (u64, u64) {
    let sum = |column: usize| {
        let dump = host.dump();
        dump.iter()
            .skip(1)
            .map(|peer| peer[column].parse::<u64>().unwrap())
            .sum()
    };
    (sum(5), sum(6))
}

#[tokio::test(flavor = "multi_thread")]
async fn minutes_without_a_plane_are_in_the_history_once_the_plane_is_back() {
    let mut lab = Lab::new().await;
    let mut host = lab.host("los-angeles", &["10.8.0.0/24"]).await;
    let peer = create_applied(&lab, &host, "alice").await;
    let admin = lab.admin();
    let device = lab.device("alice");
    device.connect(&admin.peer_configuration(&host.id, peer.id).await.unwrap());
    let ping = || {
        device.namespace.succeeds(&[
            "ping", "-n", "-c", "5", "-i", "0.2", "-s", "1000", "-w", "20", "10.8.0.1",
        ])
    };
    assert!(ping());
    let begin = Timestamp::now();

    lab.plane().stop();
    for round in 1..=5u64 {
        assert!(ping(), "the tunnel failed without the plane");
        // The history has a resolution of one minute. Rounds end 40 s apart, however long their steps take.
        let until = begin.after(Duration::from_secs(round * 40));
        wait::until("time passes", async || Timestamp::now(), |now| *now >= until).await;
        if round == 2 {
            host.agent().kill();
            host.start();
        }
    }
    lab.start_plane().await;
    let back = Timestamp::now();

    let status = async || lab.admin().statuses().await.unwrap().remove(0);
    let both = async || (status().await, kernel(&host));
    let (status, transfers) = wait::until("the totals match the kernel", both, |(status, kernel)| {
        status.reported_at.is_some_and(|at| at > back) && (status.transfer_rx, status.transfer_tx) == *kernel
    })
    .await;
    let shown = lab.admin().peer(&host.id, peer.id).await.unwrap();
    assert_eq!((shown.transfer_rx, shown.transfer_tx), transfers);
    assert!(status.online);

    let query = HistoryQuery {
        server_id: Some(host.id.clone()),
        step: Some(60),
        ..HistoryQuery::default()
    };
    let points = lab.admin().history(&query).await.unwrap();
    let minutes: Vec<i64> = points.iter().map(|point| point.recorded_at.unix() / 60).collect();
    println!("seconds since the outage began, and bytes received by then:");
    for point in &points {
        println!("{} {}", point.recorded_at.unix() - begin.unix(), point.transfer_rx);
    }
    assert!(
        minutes.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "a gap: {minutes:?}"
    );
    assert!(minutes.len() >= 4 && minutes[0] <= begin.unix() / 60, "{minutes:?}");
    assert!(points.is_sorted_by_key(|point| (point.transfer_rx, point.transfer_tx)));
    let grew = points
        .windows(2)
        .filter(|pair| pair[1].transfer_rx > pair[0].transfer_rx);
    assert!(
        grew.count() >= 3,
        "the traffic during the outage is not in its own minutes: {points:?}"
    );
}
