//! A compromised host: attacks on other hosts and on the plane with one agent's token.
//!
//! Owns the requests and the promised responses.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::AsyncWriteExt as _;
use wgctl::PrivateKey;
use wgctl::api::NewPeer;
use wgctl::protocol::v1::DesiredQuery;

use crate::floods::judged;
use crate::stage::{Aim, Outcome, Stage};
use crate::wire::{Answers, ask, connect, head, source};

/// The duration of the flood.
const FLOOD: Duration = Duration::from_secs(15);
/// The number of simultaneous connections.
const AT_ONCE: usize = 8;
/// The largest number of entries that fit into one body.
const NAMED: usize = 200_000;

/// Sends long confirmations that name clients many times. Each connection is closed after the last byte,
/// before the plane has processed the confirmation.
pub(crate) async fn confirmations_that_hang_up(stage: &Stage) -> Outcome {
    let aim = &stage.aim;
    let new = NewPeer {
        name: Some("named-in-vain".parse().expect("a name")),
        public_key: Some(PrivateKey::generate().expect("a key").public_key()),
        preshared_key: Some(false),
        ..NewPeer::default()
    };
    let hostile = "hostile".parse().expect("a server's id");
    let client = stage
        .client()
        .create_peer(&hostile, &new, None)
        .await
        .expect("a client");
    let agent = stage.client().with_token(aim.agent.clone().into());
    let query = DesiredQuery {
        revision: 0,
        incarnation: None,
        wait: 0,
    };
    let desired = agent.desired(&query).await.expect("the desired state");
    // Half of the entries repeat one existing client; the other half name clients that do not exist.
    let named: String = (0..NAMED / 2)
        .map(|number| {
            format!(
                r#"{{"client":"{}","reason":"x"}},{{"client":"00000000-0000-4000-8000-{number:012x}","reason":"x"}},"#,
                client.id
            )
        })
        .collect();
    let body = format!(
        r#"{{"incarnation":"{}","revision":{},"failed":[{}]}}"#,
        desired.incarnation,
        desired.revision,
        named.trim_end_matches(',')
    );
    let request = (head("POST /api/agent/applied", Some(&aim.agent), Some(body.len())) + &body).into_bytes();
    let begin = Instant::now();
    let floods = (0..AT_ONCE).map(async |_| {
        let mut answers = Vec::new();
        while begin.elapsed() < FLOOD {
            let Ok(mut stream) = connect(aim.address, source(7)).await else {
                answers.push("not connected".to_owned());
                continue;
            };
            let sent = stream.write_all(&request).await.is_ok();
            answers.push(if sent { "hung up" } else { "reset" }.to_owned());
        }
        answers
    });
    let answers = join_all(floods).await.into_iter().flatten().collect();
    judged(
        answers,
        &["hung up", "reset"],
        format!("{} MB each", request.len() >> 20),
    )
}

/// Sends too much data, too many requests and impossible values, as an agent on a compromised host might do.
pub(crate) async fn hostile_agent(stage: &Stage) -> Outcome {
    let aim = &stage.aim;
    let before = others(stage).await;
    let mut answers = Answers::default();
    let huge = format!(r#"{{"server_id":"hostile","pad":"{}"}}"#, "x".repeat(100 << 20));
    answers.note(say(aim, "POST /api/report", &huge).await);
    for count in [1_000_000, 150_000] {
        let peers: Vec<String> = (0..count)
            .map(|number| format!(r#""00000000-0000-4000-8000-{number:012x}":{{"rx":1,"tx":18446744073709551615}}"#))
            .collect();
        answers.note(say(aim, "POST /api/report", &report(1, &peers.join(","))).await);
    }
    // Sequence numbers that go backwards, are repeated, or are the largest possible.
    for sequence in [9, 3, 1, 9, u64::MAX, 0, 1] {
        answers.note(say(aim, "POST /api/report", &report(sequence, "")).await);
    }
    let reasons: Vec<String> = (0..20_000)
        .map(|number| format!(r#"{{"client":"00000000-0000-4000-8000-{number:012x}","reason":"x"}}"#))
        .collect();
    let life = "00000000-0000-4000-8000-000000000000";
    let applied = format!(
        r#"{{"incarnation":"{life}","revision":1,"failed":[{}]}}"#,
        reasons.join(",")
    );
    answers.note(say(aim, "POST /api/agent/applied", &applied).await);
    for number in 0..100 {
        let keys: Vec<String> = (0..256)
            .map(|key| {
                let id = format!("00000000-0000-4000-8000-{:012x}", number * 256 + key);
                let key = format!("{}A=", "B".repeat(42 - id.len()) + &id.replace('-', "A"));
                format!(r#"{{"id":"{id}","public_key":"{key}","private_key":"AAAA","preshared_key":"AAAA"}}"#)
            })
            .collect();
        answers.note(
            say(
                aim,
                "POST /api/agent/prekeys",
                &format!(r#"{{"prekeys":[{}]}}"#, keys.join(",")),
            )
            .await,
        );
    }
    // The plane stores every new host key permanently.
    let keys = (0..200).map(|_| PrivateKey::generate().expect("a key").public_key());
    let mut said = Answers::default();
    for key in keys {
        let hello = format!(r#"{{"version":1,"agent_version":"x","public_key":"{key}"}}"#);
        said.note(say(aim, "POST /api/agent/hello", &hello).await);
    }
    let shown = said.of("200");
    answers.add(said);
    let other = r#"{"server_id":"host-0","peers":9,"transfer_rx":9,"transfer_tx":9}"#;
    let refused = say(aim, "POST /api/report", other).await;
    let mut outcome = judged(
        answers,
        &["200", "204", "400", "403", "409", "413", "422", "429"],
        String::new(),
    );
    if refused != "403" {
        outcome
            .broken
            .push(format!("the response to a report for another server was {refused}"));
    }
    if shown > 20 {
        outcome
            .broken
            .push(format!("{shown} new keys of one host were accepted at once"));
    }
    if others(stage).await != before {
        outcome.broken.push("another server's counters changed".to_owned());
    }
    outcome
}

fn report(sequence: u64, peers: &str) -> String {
    format!(
        r#"{{"server_id":"hostile","peers":18446744073709551615,"transfer_rx":0,"transfer_tx":0,"counters":{{"incarnation":
        "00000000-0000-4000-8000-000000000000","sequence":{sequence},"peers":{{{peers}}},"total":{{"rx":0,"tx":18446744073709551615}}}}}}"#
    )
}

async fn say(aim: &Aim, line: &str, body: &str) -> String {
    let request = head(line, Some(&aim.agent), Some(body.len())) + body;
    ask(aim.address, source(5), request.as_bytes()).await.0
}

/// Returns the counters of every server except the hostile one.
async fn others(stage: &Stage) -> Vec<(String, u64, u64)> {
    let statuses = stage.plane.admin().statuses().await.expect("statuses");
    let others = statuses
        .into_iter()
        .filter(|status| status.server_id.as_str() != "hostile");
    others
        .map(|status| (status.server_id.to_string(), status.transfer_rx, status.transfer_tx))
        .collect()
}
