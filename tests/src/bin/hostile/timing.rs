//! Compares the time that a refused login takes for known emails with the time that it takes for unknown ones
//! (CVE-2020-25200 and similar).
//!
//! Owns the samples and their comparison. No limit is relaxed for this test: each account is tried only as often as
//! is possible without a penalty, and the attempts come from as many addresses as they need.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sentrazone_tests::statistics::{likeness, quantile};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use wgctl::api::{NewUser, Role};

use crate::stage::{PASSWORD, Stage};
use crate::wire::{connect, head, source, status};

/// The number of samples of each kind.
const SAMPLES: usize = 1000;
/// The number of attempts for each account. Five failures incur no penalty.
const EACH: usize = 4;
/// The number of logins from one address, over one connection. An address may send up to 30 at once.
const FROM_ONE: usize = 20;
/// The largest relative difference between two medians that should be equal, on a busy machine.
const APART: f64 = 0.02;

/// Returns a line of text (the two medians, their difference and the similarity of the distributions) and the list of
/// broken promises.
pub(crate) async fn compare(stage: &Stage) -> (String, Vec<String>) {
    let accounts = SAMPLES / EACH;
    for number in 0..accounts {
        let user = NewUser {
            email: email(true, number).parse().expect("an email"),
            password: PASSWORD.to_owned(),
            role: Role::Viewer,
        };
        stage.plane.admin().create_user(&user, None).await.expect("a user");
    }
    let mut line = Line::new(stage);
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    let mut other = Vec::new();
    for number in 0..SAMPLES {
        // The two kinds alternate, and so does the kind that comes first.
        let first = number % 2 == 0;
        for exists in [first, !first] {
            let (answer, took) = line.login(&email(exists, number % accounts)).await;
            let samples = if exists { &mut known } else { &mut unknown };
            if answer == "401" {
                samples.push(took);
            } else {
                other.push(answer);
            }
        }
    }
    judge(&known, &unknown, &other)
}

fn judge(known: &[Duration], unknown: &[Duration], other: &[String]) -> (String, Vec<String>) {
    let (one, two) = (quantile(known, 0.5).as_secs_f64(), quantile(unknown, 0.5).as_secs_f64());
    let apart = (one - two) / two;
    let alike = likeness(known, unknown);
    let text = format!(
        "login refused, {} known and {} unknown emails, alternating: medians {:.3} and {:.3} ms, difference {:+.2} %, \
         Kolmogorov-Smirnov distance {:.4} (p = {:.3})",
        known.len(),
        unknown.len(),
        one * 1000.0,
        two * 1000.0,
        apart * 100.0,
        alike.distance,
        alike.probability,
    );
    let mut broken = Vec::new();
    if apart.abs() > APART {
        broken.push(format!("the medians differ by {:.2} %", apart * 100.0));
    }
    if !other.is_empty() {
        broken.push(format!("{} responses are not 401: {:?}", other.len(), other.first()));
    }
    (text, broken)
}

/// Returns the email of an account that exists, or of one that does not. All emails have the same length.
fn email(exists: bool, number: usize) -> String {
    format!("{}-{number:04}@example.com", if exists { "known" } else { "never" })
}

/// A connection that is used for a while, then replaced by one from another address.
struct Line<'a> {
    stage: &'a Stage,
    used: usize,
    from: usize,
    stream: Option<TcpStream>,
}

impl<'a> Line<'a> {
    const fn new(stage: &'a Stage) -> Self {
        Self {
            stage,
            used: 0,
            from: 100_000,
            stream: None,
        }
    }

    async fn login(&mut self, email: &str) -> (String, Duration) {
        if self.used == FROM_ONE {
            (self.used, self.stream) = (0, None);
            self.from += 1;
        }
        let from: Ipv4Addr = source(self.from);
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(connect(self.stage.aim.address, from).await.expect("a connection")),
        };
        self.used += 1;
        let body = format!(r#"{{"email":"{email}","password":"not the right one"}}"#);
        let request = head("POST /api/login", None, Some(body.len())) + &body;
        let begin = Instant::now();
        stream.write_all(request.as_bytes()).await.expect("the plane reads");
        let answer = status(stream).await;
        let took = begin.elapsed();
        // Discards the rest of this response. Otherwise the next read would take it for the next response.
        self.drain();
        (answer, took)
    }

    fn drain(&mut self) {
        let mut rest = [0; 4096];
        let Some(stream) = &self.stream else { return };
        while matches!(stream.try_read(&mut rest), Ok(read) if read > 0) {}
    }
}
