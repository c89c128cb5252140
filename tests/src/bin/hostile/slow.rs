//! The modes of slowhttptest: heads and bodies that trickle in, and responses that are never read. Also
//! exports of the whole audit log while another client is active.
//!
//! Owns the pace and the measurement of how long the plane keeps such a connection open.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sentrazone_tests::resources::Resources;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;

use crate::stage::{Outcome, Stage};
use crate::wire::{Answers, PATIENCE, connect, head, source, status};

const CONNECTIONS: usize = 1000;
/// The number of source addresses. There are many, so that the limit per address does not end the attack at once.
const ADDRESSES: usize = 100;
/// The pause between two bytes.
const PACE: Duration = Duration::from_secs(3);
const READERS: usize = 200;
/// The number of requests that a slow reader sends without reading the responses.
const ASKED: usize = 4000;
/// The time after which the slow-reader attack ends.
const ENDLESS: Duration = Duration::from_secs(100);

/// Sends the beginning of a request, then `piece` again and again at the slow pace, until the plane ends the
/// connection. Returns the response status and the lifetime of the connection.
async fn trickle(to: SocketAddr, number: usize, opening: &str, piece: &[u8]) -> (String, Duration) {
    let begin = Instant::now();
    let Ok(stream) = connect(to, source(number % ADDRESSES)).await else {
        return ("not connected".to_owned(), begin.elapsed());
    };
    let (mut input, mut output) = stream.into_split();
    let trickling = async {
        let _ = output.write_all(opening.as_bytes()).await;
        while begin.elapsed() < PATIENCE {
            sleep(PACE).await;
            if output.write_all(piece).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let answer = tokio::select! {
        answer = status(&mut input) => answer,
        () = trickling => unreachable!("the trickling future never completes"),
    };
    (answer, begin.elapsed())
}

async fn trickles(stage: &Stage, opening: &str, piece: &[u8], promised: &[&str]) -> Outcome {
    let tries = (0..CONNECTIONS).map(|number| trickle(stage.aim.address, number, opening, piece));
    let ended = join_all(tries).await;
    let longest = ended.iter().map(|(_, took)| *took).max().unwrap_or_default();
    let answers: Answers = ended.into_iter().map(|(answer, _)| answer).collect();
    let mut broken = Vec::new();
    if !answers.are_all(promised) {
        broken.push(format!("got {answers}, expected only {promised:?}"));
    }
    if longest > Duration::from_secs(45) {
        broken.push(format!("one connection was held for {longest:?}"));
    }
    Outcome {
        answers,
        note: format!("the last connection ended after {:.0} s", longest.as_secs_f64()),
        broken,
    }
}

/// Sends slow headers (slowhttptest -H, slowloris).
pub(crate) async fn headers(stage: &Stage) -> Outcome {
    let opening = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n";
    trickles(stage, opening, b"X-a: b\r\n", &["408", "closed", "reset", "503", "429"]).await
}

/// Sends slow bodies (slowhttptest -B).
pub(crate) async fn bodies(stage: &Stage) -> Outcome {
    let opening = head("POST /api/login", None, Some(8192));
    trickles(stage, &opening, b" ", &["408", "closed", "reset", "503", "429"]).await
}

/// Requests many small responses at once and reads none of them (slowhttptest -X).
pub(crate) async fn readers(stage: &Stage) -> Outcome {
    let before = Resources::of(stage.aim.process).descriptors;
    let begin = Instant::now();
    let requests = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(ASKED);
    let opened = (0..READERS).map(|number| unread(stage.aim.address, number, &requests));
    let held: Vec<TcpStream> = join_all(opened).await.into_iter().flatten().collect();
    let mut answers = Answers::default();
    held.iter().for_each(|_| answers.note("unread".to_owned()));
    // Only the plane can end the connections: nothing is read or closed here.
    while Resources::of(stage.aim.process).descriptors > before + READERS / 20 && begin.elapsed() < ENDLESS {
        sleep(Duration::from_millis(500)).await;
    }
    let took = begin.elapsed();
    let broken = (took >= ENDLESS).then(|| "slow readers were still connected at the end".to_owned());
    Outcome {
        answers,
        note: format!("95 % of connections had ended after {:.0} s", took.as_secs_f64()),
        broken: broken.into_iter().collect(),
    }
}

/// Opens a connection and sends `requests`. The responses are never read.
async fn unread(to: SocketAddr, number: usize, requests: &str) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.set_recv_buffer_size(4096).ok()?;
    socket.bind(SocketAddr::from((source(number % ADDRESSES), 0))).ok()?;
    let mut stream = socket.connect(to).await.ok()?;
    // The plane stops reading when it cannot write, so the last requests cannot be sent.
    let _ = tokio::time::timeout(Duration::from_secs(2), stream.write_all(requests.as_bytes())).await;
    Some(stream)
}

/// Exports a long audit log several times at once.
pub(crate) async fn exports(stage: &Stage) -> Outcome {
    let rows = fill(stage, Duration::from_secs(20)).await;
    let begin = Instant::now();
    let client = stage.client();
    let exports = (0..4).map(|_| async {
        let mut response = client
            .audit_export(wgctl::client::AuditFormat::Csv)
            .await
            .map_err(|error| error.to_string())?;
        let mut lines = 0;
        while let Some(piece) = response.chunk().await.map_err(|error| error.to_string())? {
            lines += piece.iter().filter(|byte| **byte == b'\n').count();
        }
        Ok::<usize, String>(lines)
    });
    let ended = join_all(exports).await;
    let seconds = begin.elapsed().as_secs_f64();
    let whole = ended
        .iter()
        .filter(|lines| lines.as_ref().is_ok_and(|lines| *lines > rows));
    let (count, lines) = (whole.count(), ended.iter().flatten().sum::<usize>());
    let mut answers = Answers::default();
    ended
        .iter()
        .for_each(|end| answers.note(if end.is_ok() { "200" } else { "truncated" }.to_owned()));
    let broken = (count != ended.len()).then(|| format!("exports of at least {rows} rows gave {ended:?}"));
    #[expect(clippy::cast_precision_loss, reason = "a rate, in thousands")]
    let rate = lines as f64 / seconds / 1000.0;
    Outcome {
        answers,
        note: format!("at least {rows} rows, {rate:.0} thousand rows per second"),
        broken: broken.into_iter().collect(),
    }
}

/// Creates audit records for the given time. Returns a lower bound on their number.
async fn fill(stage: &Stage, time: Duration) -> usize {
    let begin = Instant::now();
    let server = stage.servers[1].clone();
    let making = (0..32).map(|number| {
        let (admin, server) = (stage.plane.admin(), server.clone());
        async move {
            let name = Some(format!("row-{number}").parse().expect("a name"));
            let new = wgctl::api::NewPeer {
                name,
                ..wgctl::api::NewPeer::default()
            };
            let peer = admin.create_peer(&server, &new, None).await.expect("a peer");
            let mut rows = 0;
            while begin.elapsed() < time {
                let switched = admin.set_peer_enabled(&server, peer.id, rows % 2 == 1).await;
                rows += usize::from(switched.is_ok());
            }
            rows
        }
    });
    join_all(making).await.into_iter().sum()
}
