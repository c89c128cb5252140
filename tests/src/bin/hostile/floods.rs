//! Floods: logins, huge and deeply nested bodies, and HTTP/2 frames, although the plane speaks only HTTP/1.1.
//!
//! Owns the requests and the promised responses.

use std::process::Command;
use std::time::Duration;

use futures_util::future::join_all;

use crate::stage::{Outcome, Stage};
use crate::wire::{Answers, ask, head, source};

const LOGINS: usize = 1000;
const GIGABYTE: usize = 1 << 30;
const DEPTH: usize = 100_000;
const KEYS: usize = 1_000_000;
const FRAMED: usize = 200;
const UNFINISHED: usize = 64;
/// The time for which an unfinished body is kept open.
const WAITED: Duration = Duration::from_secs(10);

/// Compares the responses with the promised ones. Any other response breaks the promise.
pub(crate) fn judged(answers: Answers, promised: &[&str], note: String) -> Outcome {
    let kept = answers.are_all(promised);
    let broken = (!kept).then(|| format!("got {answers}, expected only {promised:?}"));
    Outcome {
        answers,
        note,
        broken: broken.into_iter().collect(),
    }
}

/// Sends many logins at once. Each costs 46 MiB and tens of milliseconds, unless it is refused first. The logins come
/// from 250 addresses, so that the limit per address does not stop them.
pub(crate) async fn logins(stage: &Stage) -> Outcome {
    let tries = (0..LOGINS).map(|number| {
        let body = format!(r#"{{"email":"flood-{number}@example.com","password":"not the right one"}}"#);
        let request = head("POST /api/login", None, Some(body.len())) + &body;
        let to = stage.aim.address;
        async move { ask(to, source(number % 250), request.as_bytes()).await.0 }
    });
    let answers: Answers = join_all(tries).await.into_iter().collect();
    judged(answers, &["401", "429", "503"], String::new())
}

/// Sends many logins from one address. The address must be throttled, whatever address the headers claim.
pub(crate) async fn logins_of_one_address(stage: &Stage) -> Outcome {
    let mut answers = Answers::default();
    for number in 0..200 {
        let body = format!(r#"{{"email":"one-{number}@example.com","password":"not the right one"}}"#);
        let forged = format!("X-Forwarded-For: 198.51.100.{}\r\n\r\n", number % 250);
        let request = head("POST /api/login", None, Some(body.len())).replacen("\r\n\r\n", &format!("\r\n{forged}"), 1);
        let request = request + &body;
        answers.note(ask(stage.aim.address, source(60_000), request.as_bytes()).await.0);
    }
    let mut outcome = judged(answers, &["401", "429"], "X-Forwarded-For changed each time".to_owned());
    let tried = outcome.answers.to_string();
    let limited = tried.contains("429");
    if !limited {
        outcome.broken.push(format!("no login was throttled: {tried}"));
    }
    outcome
}

/// Sends bodies of one gigabyte, with a content length or chunked, as an unauthenticated caller, an admin and an agent.
pub(crate) async fn gigabytes(stage: &Stage) -> Outcome {
    let aim = &stage.aim;
    let body = vec![b' '; 64 << 20];
    let lines = [
        ("POST /api/login", None),
        ("POST /api/servers", Some(aim.admin.as_str())),
        ("POST /api/report", Some(aim.agent.as_str())),
        ("POST /api/agent/adoption", Some(aim.agent.as_str())),
    ];
    let announced = lines.map(|(line, token)| {
        let request = [head(line, token, Some(GIGABYTE)).into_bytes(), body.clone()].concat();
        async move { ask(aim.address, source(1), &request).await }
    });
    let chunked = lines.map(|(line, token)| {
        let opened = head(line, token, None).replacen("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n", 1);
        let piece = [b"100000\r\n".as_slice(), &[b' '; 1 << 20], b"\r\n"].concat();
        let request = [opened.into_bytes(), piece.repeat(64)].concat();
        async move { ask(aim.address, source(2), &request).await }
    });
    let (announced, chunked) = tokio::join!(join_all(announced), join_all(chunked));
    let sent: usize = announced.iter().chain(&chunked).map(|(_, sent)| sent).sum();
    let answers = announced.into_iter().chain(chunked).map(|(answer, _)| answer).collect();
    judged(answers, &["413", "reset"], format!("{} of 8,192 MB sent", sent >> 20))
}

/// Sends JSON bodies that are deeply nested or have a million keys.
pub(crate) async fn shapes(stage: &Stage) -> Outcome {
    let aim = &stage.aim;
    let keys: String = (0..KEYS).map(|number| format!(r#""k{number}":1,"#)).collect();
    let report = format!(r#"{{{keys}"server_id":"hostile","peers":0,"transfer_rx":0,"transfer_tx":0}}"#);
    let bodies = [
        ("[".repeat(DEPTH), false),
        ("{\"a\":".repeat(DEPTH), false),
        ([r#"{"id":"#, &"[".repeat(DEPTH)].concat(), false),
        (
            [r#"{"server_id":"hostile","later":"#, &"[".repeat(DEPTH)].concat(),
            true,
        ),
        (format!("{{{keys}\"id\":\"x\"}}"), false),
        (report, true),
    ];
    let tries = bodies.iter().cycle().take(bodies.len() * 4).map(|(body, is_agents)| {
        let (line, token) = match is_agents {
            true => ("POST /api/report", &aim.agent),
            false => ("POST /api/servers", &aim.admin),
        };
        let request = head(line, Some(token), Some(body.len())) + body;
        async move { ask(aim.address, source(3), request.as_bytes()).await.0 }
    });
    let answers = join_all(tries).await.into_iter().collect();
    // Agents may send fields that the plane does not know, so a report with a million of them is accepted.
    // One caller may have two bodies of that size at once.
    judged(answers, &["204", "400", "413", "422", "503"], String::new())
}

/// Sends bodies that are small on the wire and 256 MB when decompressed.
pub(crate) async fn bombs(stage: &Stage) -> Outcome {
    let packed = Command::new("sh")
        .args(["-c", "head -c 268435456 /dev/zero | gzip -9"])
        .output();
    let packed = packed.expect("gzip").stdout;
    let mut answers = Answers::default();
    for number in 0..50 {
        for (line, token) in [
            ("POST /api/login", None),
            ("POST /api/servers", Some(stage.aim.admin.as_str())),
        ] {
            let encoding = ["Content-Encoding: gzip", "Content-Encoding: identity, gzip"][number % 2];
            let opened = head(line, token, Some(packed.len()));
            let opened = opened.replacen("\r\n\r\n", &format!("\r\n{encoding}\r\n\r\n"), 1);
            let request = [opened.into_bytes(), packed.clone()].concat();
            answers.note(ask(stage.aim.address, source(4), &request).await.0);
        }
    }
    judged(
        answers,
        &["415", "413"],
        format!("{} kB that decompress to 256 MB", packed.len() >> 10),
    )
}

/// Encodes an HTTP/2 frame (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Sends the HTTP/2 preface followed by rapid resets, an endless header or empty frames. Also sends an upgrade request,
/// which the plane does not grant (CVE-2023-44487, CVE-2024-27316, RUSTSEC-2024-0332).
pub(crate) async fn http2(stage: &Stage) -> Outcome {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    // `GET /` from the static table, without END_HEADERS. Literal fields follow in CONTINUATION frames.
    let (headers, rest) = (frame(1, 0, 1, &[0x82, 0x84, 0x86]), frame(9, 0, 1, &[0; 1024]));
    let settings = frame(4, 0, 0, &[]);
    let resets = (0..1000u32).flat_map(|n| {
        let open = frame(1, 5, 2 * n + 1, &[0x82, 0x84, 0x86]);
        [open, frame(3, 0, 2 * n + 1, &8u32.to_be_bytes())].concat()
    });
    let floods = [
        [PREFACE, &settings, &resets.collect::<Vec<u8>>()].concat(),
        [PREFACE, &settings, &headers, &rest.repeat(512)].concat(),
        [PREFACE, &settings, &frame(0, 0, 1, &[]).repeat(10_000)].concat(),
        [PREFACE, &settings, &frame(6, 0, 0, &[0; 8]).repeat(10_000)].concat(),
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n".to_vec(),
    ];
    let to = stage.aim.address;
    let tries = floods.iter().cycle().take(floods.len() * FRAMED).enumerate();
    let tries = tries.map(|(number, flood)| async move { ask(to, source(number), flood).await.0 });
    let answers = join_all(tries).await.into_iter().collect();
    // The upgrade request is answered with 200 over HTTP/1.1.
    judged(answers, &["400", "200", "closed", "reset"], String::new())
}

/// Sends oversized heads (one long line, or many lines) and malformed heads.
pub(crate) async fn heads(stage: &Stage) -> Outcome {
    let to = stage.aim.address;
    let many: String = (0..100_000).map(|number| format!("X-{number}: y\r\n")).collect();
    let floods = [
        format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(1 << 20)),
        format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(8 << 20)),
        format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n"),
        format!(
            "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
            "e".repeat(1 << 20)
        ),
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_owned(),
        "\0\r\n\r\n".to_owned(),
    ];
    let tries = floods.iter().cycle().take(floods.len() * 50).enumerate();
    let tries = tries.map(|(number, flood)| async move { ask(to, source(number), flood.as_bytes()).await.0 });
    let answers = join_all(tries).await.into_iter().collect();
    judged(answers, &["400", "414", "431", "reset", "closed"], String::new())
}

/// Begins many long bodies as one agent, sends most of each, and waits. Bodies beyond the agent's limit are refused.
pub(crate) async fn unfinished_bodies(stage: &Stage) -> Outcome {
    let aim = &stage.aim;
    let opened = head("POST /api/report", Some(&aim.agent), Some(15 << 20)).into_bytes();
    let request = [opened, vec![b' '; 12 << 20]].concat();
    let begun = (0..UNFINISHED).map(|_| async {
        let asked = ask(aim.address, source(6), &request);
        let answered = tokio::time::timeout(WAITED, asked).await;
        answered.map_or_else(|_| "unfinished".to_owned(), |(answer, _)| answer)
    });
    let answers: Vec<String> = join_all(begun).await;
    let waiting = answers.iter().filter(|answer| *answer == "unfinished").count();
    let mut outcome = judged(
        answers.into_iter().collect(),
        &["503", "reset", "unfinished"],
        format!("{} MB attempted", (UNFINISHED * request.len()) >> 20),
    );
    if waiting > 3 {
        outcome
            .broken
            .push(format!("{waiting} bodies from one agent were kept"));
    }
    outcome
}
