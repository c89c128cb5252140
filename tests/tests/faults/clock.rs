//! The clock of a whole machine jumps, and jumps back.
//!
//! WireGuard measures the age of sessions in time since boot. Only new handshakes carry the system time,
//! and a host accepts no handshake whose time is earlier than that of the last one that it accepted (the TAI64N
//! timestamp in the initiation, which is the protocol's replay protection). A device whose clock was ahead and has been
//! corrected gets a new session only after its clock has passed that time again. Therefore these jumps end before the
//! witnesses' sessions are old enough to be renewed.

use std::time::{Duration, Instant};

use sentrazone_tests::clock::Clock;
use sentrazone_tests::figures::report;
use sentrazone_tests::wait;
use wgctl::Timestamp;
use wgctl::api::{Login, NewPeer, NewUser, Peer, Role, Status};
use wgctl::client::PlaneClient;

use crate::alone;
use crate::scene::{Scene, new_peer};

const DAY: i64 = 24 * 60 * 60;
const TEN_YEARS: i64 = 3653 * DAY;
/// The time within which an agent that reports every second must be online again, even on a slow machine.
const SOON: Duration = Duration::from_secs(15);

const JUMPS: [(&str, i64); 4] = [
    ("a day forward", DAY),
    ("a day back", -DAY),
    ("ten years forward", TEN_YEARS),
    ("ten years back", -TEN_YEARS),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_and_is_corrected_interrupts_no_tunnel() {
    let _turn = alone().await;
    let clock = Clock::of_this_guest();
    let mut scene = Scene::new().await;
    let person = scene.person().await;
    let expiring = NewPeer {
        expires_at: Some(Timestamp::now().after(Duration::from_secs(3600))),
        ..new_peer("expires-in-an-hour")
    };
    let expiring = scene.admin.create_peer(&scene.host.id, &expiring, None).await.unwrap();
    assert!(expiring.applied);
    let mut told = Vec::new();
    let mut longest = Duration::ZERO;
    for (name, seconds) in JUMPS {
        clock.jump(seconds);
        let during = scene.online_by_the_clock().await;
        scene.has(&expiring, seconds < 0);
        let made = scene.add(&format!("made-{seconds}")).await.unwrap();
        assert!(made.applied, "{made:?}");
        let token = accepted(&person).await;
        clock.set_right();
        let after = scene.online_by_the_clock().await;
        scene.has(&expiring, true);
        scene.agrees().await;
        longest = longest.max(after);
        assert!(accepted(&person).await, "the token is not valid again afterwards");
        let token = if token { "accepted" } else { "refused" };
        println!(
            "clock {name}: online again {during:.1?} after the jump, {after:.1?} after the correction; token {token}"
        );
        told.push(format!("{name}: {token}"));
    }
    scene.lives();
    let tally = scene.end();
    let figure = format!(
        "no panics; no host offline for more than {:.1} s after the clock is right again (1 s between reports); a \
         session token is checked during each jump ({}) and is accepted again afterwards; a peer whose expiry was \
         skipped is absent until the clock is right again",
        longest.as_secs_f64(),
        told.join(", ")
    );
    report("clock jumps of a day and ten years", 4, &tally, &figure);
    assert!(longest < SOON, "{longest:?}");
    assert!(tally.is_clean(), "{tally:?}");
}

/// Returns true if a user's session token is accepted.
async fn accepted(person: &PlaneClient) -> bool {
    match person.statuses().await {
        Ok(_) => true,
        Err(error) if error.status() == Some(401) => false,
        Err(error) => panic!("{error}"),
    }
}

impl Scene {
    /// Creates a user, logs in, and returns the user's client.
    async fn person(&self) -> PlaneClient {
        let (email, password) = ("ops@example.com", "correct horse battery staple");
        let new = NewUser {
            email: email.parse().unwrap(),
            password: password.to_owned(),
            role: Role::Admin,
        };
        self.admin.create_user(&new, None).await.unwrap();
        let login = Login {
            email: email.to_owned(),
            password: password.to_owned(),
        };
        let session = self.admin.login(&login).await.unwrap();
        self.admin.clone().with_token(session.token.into())
    }

    /// Waits until the server is online according to a report with the current time. Returns the time it took.
    async fn online_by_the_clock(&self) -> Duration {
        let begin = Instant::now();
        let fresh = |status: &Status| {
            let (now, reported) = (Timestamp::now(), status.reported_at.unwrap());
            status.online && now.since(reported).as_secs() < 60 && reported.since(now).as_secs() < 60
        };
        wait::until("the server is online by the current clock", || self.status(), fresh).await;
        begin.elapsed()
    }

    fn has(&self, peer: &Peer, wanted: bool) {
        let there = || self.host.has_peer(&peer.public_key);
        let what = format!("{} is on the interface: {wanted}", peer.name);
        wait::until_blocking(&what, there, |there| *there == wanted);
    }

    /// Checks that neither program has ended or panicked.
    fn lives(&mut self) {
        for process in [self.lab.plane(), self.host.agent()] {
            assert!(process.ended().is_none(), "a program ended");
            assert!(!process.log().contains("panicked"), "a program panicked");
        }
    }
}
