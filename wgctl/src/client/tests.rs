//! Tests of the client's time limits, with real sockets and a paused clock.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use super::{PlaneClient, Target};
use crate::protocol::v1::DesiredQuery;

/// Starts a server that responds to one request with a head and then with these pieces, each after a pause.
async fn plane(pieces: Vec<(Duration, Vec<u8>)>) -> PlaneClient {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        let length: usize = pieces.iter().map(|(_, piece)| piece.len()).sum();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        for (pause, piece) in pieces {
            sleep(pause).await;
            // The client may have given up already.
            let _ = stream.write_all(&piece).await;
        }
    });
    PlaneClient::new(Target::Url(format!("http://{address}").parse().unwrap()), None).unwrap()
}

const QUERY: DesiredQuery = DesiredQuery {
    revision: 0,
    incarnation: None,
    wait: 25,
};

#[tokio::test(start_paused = true)]
async fn a_snapshot_may_take_minutes_as_long_as_data_keeps_arriving() {
    let answer = serde_json::json!({
        "version": 1, "incarnation": crate::name::Incarnation::random(), "revision": 3,
        "change": {"kind": "unchanged"},
    });
    let answer = answer.to_string().into_bytes();
    let pieces = answer
        .chunks(answer.len() / 9)
        .map(|piece| (Duration::from_secs(20), piece.to_vec()));
    let began = Instant::now();
    let desired = plane(pieces.collect()).await.desired(&QUERY).await.unwrap();
    assert_eq!(desired.revision, 3);
    assert!(began.elapsed() > Duration::from_secs(180), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_response_that_stalls_is_abandoned() {
    let pieces = vec![
        (Duration::ZERO, b"{\"version\"".to_vec()),
        (Duration::from_secs(600), b": 1}".to_vec()),
    ];
    let began = Instant::now();
    let error = plane(pieces).await.desired(&QUERY).await.unwrap_err().to_string();
    assert!(error.contains("no answer for 30 s"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
}
