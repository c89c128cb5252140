//! Sessions: their end, the identity that they carry, and the keys that sign them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU32;
use std::sync::Barrier;
use std::thread;

use serde_json::{Value, json};

use crate::support::client::request;
use crate::support::plane::{EMAIL, PASSWORD, TestPlane};

/// Every way to end a session takes effect at once, and persists across a restart of the plane.
#[test]
fn an_ended_session_is_invalid_at_once_and_stays_invalid_after_a_restart() {
    let mut plane = TestPlane::start();
    let admin = plane.admin();
    let mut dead = Vec::new();
    for (n, way) in [
        "logout",
        "own password",
        "password by an admin",
        "disabled",
        "demoted",
        "promoted",
        "removed",
    ]
    .into_iter()
    .enumerate()
    {
        let email = format!("u{n}@example.com");
        let role = if way == "demoted" { "admin" } else { "viewer" };
        let user = plane.add_user(&email, role);
        let path = format!("/api/users/{}", user["id"].as_str().unwrap());
        let sessions = [plane.login(&email), plane.login(&email)];
        for session in &sessions {
            plane.get("/api/statuses", session).expect(200);
        }
        let patch = |body: &Value| drop(plane.patch(&path, &admin, body).expect(200));
        match way {
            "logout" => drop(plane.post("/api/logout", &sessions[0], &json!({})).expect(204)),
            "own password" => {
                let change = json!({"current_password": PASSWORD, "new_password": "a new long password"});
                plane.post("/api/password", &sessions[0], &change).expect(204);
            }
            "password by an admin" => patch(&json!({"password": "a new long password"})),
            "disabled" => patch(&json!({"enabled": false})),
            "demoted" => patch(&json!({"role": "viewer"})),
            "promoted" => patch(&json!({"role": "admin"})),
            _ => drop(plane.delete(&path, &admin).expect(204)),
        }
        for session in sessions {
            plane.get("/api/statuses", &session).problem(401, "unauthorized");
            dead.push((way, session));
        }
        if way == "disabled" {
            patch(&json!({"enabled": true}));
        }
    }
    plane.restart();
    for (way, session) in &dead {
        let answer = plane.get("/api/statuses", session);
        assert_eq!(answer.status, 401, "{way}");
        let answer = plane.post("/api/logout", session, &json!({}));
        assert_eq!(answer.status, 401, "{way}");
    }
    plane.get("/api/users", &admin).expect(200);
}

#[test]
fn a_new_signing_key_logs_nobody_out() {
    let mut plane = TestPlane::start();
    let admin = plane.admin();
    plane.add_user("viewer@example.com", "viewer");
    let viewer = plane.login("viewer@example.com");
    plane
        .post("/api/keys/rotate", &viewer, &json!({}))
        .problem(403, "forbidden");
    let server = json!({"id": "tokyo", "endpoint": "t:1", "address_pool": ["10.9.0.0/24"]});
    let create = |plane: &TestPlane| {
        let new = request("POST", "/api/servers")
            .token(&admin)
            .header("Idempotency-Key", "k");
        new.json(&server).send(plane.address).expect(201)
    };
    let made = create(&plane);
    let rotated = plane.post("/api/keys/rotate", &admin, &json!({})).expect(200);
    let kid = rotated["kid"].as_str().unwrap();
    let after = plane.login(EMAIL);
    assert_ne!(admin.split('.').next(), after.split('.').next());
    let log = plane.get("/api/audit?action=signing_key_rotated", &after).expect(200);
    assert_eq!((&log[0]["target"], &log[0]["actor"]), (&json!(kid), &json!(EMAIL)));
    for _ in 0..2 {
        for token in [&admin, &after] {
            plane.get("/api/users", token).expect(200);
        }
        assert_eq!(
            create(&plane)["agent_token"],
            made["agent_token"],
            "stored responses remain readable after the rotation"
        );
        plane.restart();
    }
    let header = |token: &str| token.split('.').next().unwrap().to_owned();
    assert_eq!(header(&plane.login(EMAIL)), header(&after));
    // Removing the file ends every session at once: the plane generates new keys.
    plane.stop();
    std::fs::remove_file(plane.state_dir().join("session.keys")).unwrap();
    plane.restart();
    for token in [&admin, &after] {
        plane.get("/api/users", token).problem(401, "unauthorized");
    }
    plane.login(EMAIL);
}

/// A connection that is kept alive.
struct Kept(BufReader<TcpStream>);

impl Kept {
    fn new(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).unwrap()))
    }

    /// Sends `GET /api/users` and returns the status.
    fn ask(&mut self, token: Option<&str>) -> u16 {
        let authorization = token
            .map(|token| format!("Authorization: Bearer {token}\r\n"))
            .unwrap_or_default();
        let head = format!("GET /api/users HTTP/1.1\r\nHost: plane\r\n{authorization}\r\n");
        self.0.get_mut().write_all(head.as_bytes()).unwrap();
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest[..3].parse().unwrap();
            }
            if let Some(rest) = line.strip_prefix("content-length: ") {
                length = rest.parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        status
    }
}

/// WGDashboard kept the authentication state in a global flag. Here a request without a token stays
/// unauthenticated while an admin's request is in flight, and right after it on the same connection.
#[test]
fn wgdashboard_516_two_requests_never_share_an_identity() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    plane.add_user("viewer@example.com", "viewer");
    let viewer = plane.login("viewer@example.com");
    let callers = [
        (Some(&*admin), 200),
        (None, 401),
        (Some(&*viewer), 403),
        (Some("szapi_x"), 401),
    ];
    let address = plane.address;
    thread::scope(|scope| {
        for start in 0..4 {
            scope.spawn(move || {
                let mut connection = Kept::new(address);
                for turn in 0..2500 {
                    let (token, wanted) = callers[(start + turn) % callers.len()];
                    assert_eq!(connection.ask(token), wanted, "turn {turn}");
                }
            });
        }
    });
}

/// A race in NetBird's first setup could create several owners.
#[test]
fn netbird_d97fe8429_only_one_of_200_simultaneous_first_setups_creates_an_admin() {
    let plane = TestPlane::start();
    let (start, socket) = (Barrier::new(200), plane.socket());
    let statuses: Vec<u16> = thread::scope(|scope| {
        let setups: Vec<_> = (0..200)
            .map(|_| {
                scope.spawn(|| {
                    let body = json!({"email": EMAIL, "password": PASSWORD, "role": "admin"});
                    start.wait();
                    request("POST", "/api/users").json(&body).send_local(&socket).status
                })
            })
            .collect();
        setups.into_iter().map(|setup| setup.join().unwrap()).collect()
    });
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!(count(201), 1, "{statuses:?}");
    assert_eq!(count(201) + count(409) + count(503), 200, "{statuses:?}");
    let users = request("GET", "/api/users").send_local(&socket).expect(200);
    assert_eq!(users.as_array().unwrap().len(), 1);
    plane.login(EMAIL);
}

/// CVE-2023-32079, CVE-2026-27899: fields that a body must not set are refused, not ignored.
#[test]
fn cve_2026_27899_fields_that_a_caller_must_not_set_are_refused() {
    let plane = TestPlane::start();
    let user = plane.add_user(EMAIL, "admin");
    let admin = plane.login(EMAIL);
    plane.add_server(&admin, "los-angeles");
    let user = format!("/api/users/{}", user["id"].as_str().unwrap());
    let bodies = [
        ("POST", "/api/login", json!({"email": EMAIL, "password": PASSWORD})),
        (
            "POST",
            "/api/password",
            json!({"current_password": "wrong password!", "new_password": "a new long password"}),
        ),
        (
            "POST",
            "/api/users",
            json!({"email": "x@example.com", "password": PASSWORD, "role": "viewer"}),
        ),
        ("PATCH", &*user, json!({"enabled": true})),
        ("POST", "/api/tokens", json!({"name": "x", "role": "viewer"})),
        (
            "POST",
            "/api/servers",
            json!({"id": "x", "endpoint": "x:1", "address_pool": ["10.9.0.0/24"]}),
        ),
        ("POST", "/api/servers/los-angeles/token", json!({"grace_seconds": 1})),
        ("PATCH", "/api/servers/los-angeles", json!({"mtu": 1400})),
        ("POST", "/api/wg-clients/los-angeles", json!({"name": "x"})),
    ];
    let fields = [
        "role",
        "id",
        "email",
        "password_hash",
        "session_epoch",
        "epoch",
        "created_at",
        "last_login_at",
        "is_admin",
        "token_hash",
        "hash",
        "created_by",
        "private_key",
        "privateKey",
        "generation",
        "revision",
        "place",
        "__proto__",
    ];
    for (method, path, body) in &bodies {
        for field in fields {
            // Fields that belong to the body are not refused.
            if body.get(field).is_some() || (*path == user && field == "role") {
                continue;
            }
            let mut body = body.clone();
            body[field] = json!("admin");
            let answer = request(method, path).token(&admin).json(&body).send(plane.address);
            assert_eq!(answer.status, 422, "{method} {path} with {field}: {}", answer.text());
            assert_eq!(answer.json()["field"], field, "{method} {path}");
        }
    }
    let me = plane.get("/api/users", &admin).expect(200);
    assert_eq!((me.as_array().unwrap().len(), &me[0]["role"]), (1, &json!("admin")));
}

#[test]
fn a_principal_that_makes_too_many_changes_is_throttled_and_others_are_not() {
    let plane = TestPlane::start_with(|config| {
        config.limits.writes_per_second = NonZeroU32::MIN;
        config.limits.write_burst = NonZeroU32::MIN.saturating_add(9);
    });
    let admin = plane.admin();
    let agent = plane.add_server(&admin, "los-angeles");
    let other = plane.add_token(&json!({"name": "ci", "role": "admin"}));
    let path = "/api/servers/los-angeles";
    let change = |token: &str, mtu: u16| plane.patch(path, token, &json!({"mtu": 1300 + mtu}));
    let refused = (0..100).map(|n| change(&admin, n)).find(|answer| answer.status != 200);
    let refused = refused.expect("a limit");
    refused.problem(429, "too_many_requests");
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    // Reads are still served, and so are other callers: an API token, an agent, root over the local socket.
    plane.get(path, &admin).expect(200);
    // Viewing a secret is recorded like a change, but has a separate limit.
    let secret = format!("/api/wg-clients/los-angeles/{}/configuration", wgctl::PeerId::random());
    let looked = (0..100)
        .map(|_| plane.get(&secret, &admin))
        .find(|answer| answer.status != 404);
    looked.expect("a limit").problem(429, "too_many_requests");
    plane.get(path, &admin).expect(200);
    change(&other, 50).expect(200);
    for _ in 0..30 {
        let report = json!({"server_id": "los-angeles", "peers": 0, "transfer_rx": 1, "transfer_tx": 2});
        plane.post("/api/report", &agent, &report).expect(204);
    }
}

#[test]
fn a_password_is_the_same_however_its_accents_are_typed() {
    let plane = TestPlane::start();
    let composed = "Motörhead für alle";
    let decomposed = "Moto\u{308}rhead fu\u{308}r alle";
    let body = json!({"email": EMAIL, "password": decomposed, "role": "admin"});
    request("POST", "/api/users")
        .json(&body)
        .send_local(&plane.socket())
        .expect(201);
    for typed in [composed, decomposed] {
        plane.try_login(EMAIL, typed).expect(200);
    }
    plane
        .try_login(EMAIL, "Motorhead fur alle")
        .problem(401, "invalid_credentials");
}

#[test]
fn easily_guessed_passwords_are_refused_everywhere() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let me = plane.get("/api/users", &admin).expect(200)[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    for (password, word) in [
        ("qwerty123456", "common"),
        ("QWERTY123456", "common"),
        ("ops@example.com", "email"),
    ] {
        let new = json!({"email": EMAIL, "password": password, "role": "admin"});
        let own = json!({"current_password": PASSWORD, "new_password": password});
        for answer in [
            plane.post("/api/users", &admin, &new),
            plane.patch(&format!("/api/users/{me}"), &admin, &json!({"password": password})),
            plane.post("/api/password", &admin, &own),
        ] {
            let problem = answer.problem(422, "invalid_field");
            assert!(problem["detail"].as_str().unwrap().contains(word), "{problem}");
        }
    }
    plane.login(EMAIL);
}
