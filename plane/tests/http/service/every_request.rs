//! Properties of every request: errors, permissions and limits; the local socket; startup and shutdown.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use sentrazone_plane::Plane;
use serde_json::json;

use crate::support::client::request;
use crate::support::plane::{EMAIL, TestPlane, config, until};

#[test]
fn the_frameworks_own_errors_are_problem_reports_too() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    for path in [
        "/",
        "/api",
        "/api/login/",
        "/API/login",
        "//api/login",
        "/api/x",
        "/metric",
        "/api/../etc/passwd",
    ] {
        request("GET", path).send(plane.address).problem(404, "not_found");
    }
    let answer = request("DELETE", "/api/login").send(plane.address);
    let problem = answer.problem(405, "method_not_allowed");
    assert!(problem["detail"].as_str().unwrap().contains("Allow"), "{problem}");
    assert_eq!(answer.header("allow"), Some("POST"));
    let bad = |content_type: &str, body: &[u8]| {
        let post = request("POST", "/api/servers").token(&admin);
        post.header("Content-Type", content_type).body(body).send(plane.address)
    };
    bad("text/plain", b"{}").problem(415, "unsupported_media_type");
    bad("application/json", b"{\"id\":").problem(400, "malformed_json");
    bad("application/json; charset=utf-8", b"\xff\xfe").problem(400, "malformed_json");
    bad("application/json", &vec![b' '; 2 << 20]).problem(413, "body_too_large");
    // Unauthenticated callers have a smaller limit.
    let login = request("POST", "/api/login").header("Content-Type", "application/json");
    let login = login.body(vec![b' '; 17 << 10]).send(plane.address);
    login.problem(413, "body_too_large");
    let unknown = bad("application/json", br#"{"id":"a","endpoint":"h:1","address_pol":[]}"#);
    assert_eq!(unknown.problem(422, "unknown_field")["field"], "address_pol");
    let wrong = bad(
        "application/json",
        br#"{"id":"a","endpoint":"h:1","address_pool":["10.0.0.0/24","x"]}"#,
    );
    assert_eq!(wrong.problem(422, "invalid_field")["field"], "address_pool[1]");
    let wrong = bad("application/json", br#"{"id":"A","endpoint":"h:1","address_pool":[]}"#);
    assert_eq!(wrong.problem(422, "invalid_field")["field"], "id");
    for (query, code, field) in [
        ("limit=x", "invalid_field", "limit"),
        ("limit=0", "invalid_field", "limit"),
        ("limit=1000000000", "invalid_field", "limit"),
        ("offset=-1", "invalid_field", "offset"),
        ("limit=1&limit=2", "invalid_field", "limit"),
        ("since=yesterday", "invalid_field", "since"),
        ("ofset=1", "unknown_field", "ofset"),
    ] {
        let answer = plane.get(&format!("/api/audit?{query}"), &admin);
        assert_eq!(answer.problem(422, code)["field"], field, "{query}");
    }
    for (query, code, field) in [
        ("export?format=xlsx", "invalid_field", "format"),
        ("export?limit=1", "unknown_field", "limit"),
        ("verify?head=7", "invalid_field", "head"),
        ("verify?heads=7", "unknown_field", "heads"),
    ] {
        let answer = plane.get(&format!("/api/audit/{query}"), &admin);
        assert_eq!(answer.problem(422, code)["field"], field, "{query}");
    }
}

#[test]
fn a_body_of_unknown_length_is_refused_at_the_limit() {
    let plane = TestPlane::start_with(|config| config.limits.max_body = 4096);
    let mut stream = TcpStream::connect(plane.address).unwrap();
    let head = "POST /api/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let _ = stream.write_all(format!("2000\r\n{}\r\n0\r\n\r\n", " ".repeat(0x2000)).as_bytes());
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    crate::support::client::parse(&bytes)
        .unwrap()
        .problem(413, "body_too_large");
}

#[test]
fn slow_callers_are_disconnected() {
    let plane = TestPlane::start_with(|config| {
        config.limits.header_timeout = Duration::from_secs(2);
        config.limits.body_timeout = Duration::from_millis(200);
    });
    let mut head = TcpStream::connect(plane.address).unwrap();
    head.write_all(b"GET /healthz HTTP/1.1\r\nHost:").unwrap();
    let mut body = TcpStream::connect(plane.address).unwrap();
    let announced = "POST /api/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
                     Content-Length: 100\r\n\r\n{";
    body.write_all(announced.as_bytes()).unwrap();
    let read = |mut stream: TcpStream| {
        let mut bytes = Vec::new();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let _ = stream.read_to_end(&mut bytes);
        bytes
    };
    crate::support::client::parse(&read(body))
        .unwrap()
        .problem(408, "request_timeout");
    let _ = read(head);
}

#[test]
fn every_response_has_the_security_headers() {
    let plane = TestPlane::start();
    for path in ["/healthz", "/api/statuses", "/nowhere"] {
        let answer = request("GET", path).send(plane.address);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert!(answer.header("content-security-policy").is_some());
        assert_eq!(answer.header("x-request-id").map(str::len), Some(36));
    }
}

#[test]
fn the_plane_reports_that_it_is_alive_and_ready() {
    let plane = TestPlane::start();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(request("GET", path).send(plane.address).expect(200)["status"], "ok");
    }
}

#[test]
fn the_local_socket_identifies_its_user() {
    let plane = TestPlane::start();
    let mode = std::fs::metadata(plane.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    plane.add_user(EMAIL, "admin");
    let log = request("GET", "/api/audit?action=user_created")
        .send_local(&plane.socket())
        .expect(200);
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap();
    let name = user.map_or(nix::unistd::getuid().to_string(), |user| user.name);
    assert_eq!(log[0]["actor"], format!("local:{name}"));
    assert_eq!(log[0]["ip"], "");
    request("POST", "/api/logout")
        .send_local(&plane.socket())
        .problem(403, "forbidden");
    // A token takes precedence over the local socket.
    let wrong = request("GET", "/api/users").token("x");
    wrong.send_local(&plane.socket()).problem(401, "unauthorized");
}

#[test]
fn a_restart_keeps_acknowledged_changes_and_sessions() {
    let mut plane = TestPlane::start();
    let admin = plane.admin();
    let agent = plane.add_server(&admin, "los-angeles");
    plane.restart();
    let servers = plane.get("/api/servers", &admin).expect(200);
    assert_eq!(servers[0]["id"], "los-angeles");
    let report = json!({"server_id": "los-angeles", "peers": 0, "transfer_rx": 1, "transfer_tx": 2});
    plane.post("/api/report", &agent, &report).expect(204);
    let mode = |name: &str| {
        let path = plane.state_dir().join(name);
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode(""), mode("jwt.key"), mode("session.keys")), (0o700, 0o600, 0o600));
}

#[test]
fn two_planes_cannot_share_a_state_directory() {
    let plane = TestPlane::start();
    let mut second = config(plane.dir.path());
    second.socket = None;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let error = runtime.block_on(Plane::bind(&second)).err().unwrap().to_string();
    assert!(
        error.contains("plane.redb") && error.contains("stop the other"),
        "{error}"
    );
}

#[test]
fn a_shutdown_answers_a_held_poll_at_once() {
    let mut plane = TestPlane::start();
    let admin = plane.admin();
    let token = plane.add_server(&admin, "los-angeles");
    // Confirm the revision and fill the stock first. Otherwise the poll is answered at once instead of being held.
    let first = plane.get("/api/agent/desired", &token).expect(200);
    let wanted = first["prekeys_wanted"].as_u64().unwrap();
    let prekeys: Vec<_> = (0..wanted).map(|_| crate::support::agent::prekey()).collect();
    let stocked = plane.post("/api/agent/prekeys", &token, &json!({"prekeys": prekeys}));
    stocked.expect(204);
    let confirmed = json!({"incarnation": first["incarnation"], "revision": first["revision"]});
    plane.post("/api/agent/applied", &token, &confirmed).expect(204);
    let life = first["incarnation"].as_str().unwrap();
    let query = format!(
        "/api/agent/desired?revision={}&incarnation={life}&wait=60",
        first["revision"]
    );
    // A poll that has not reached the plane before the plane stops fails instead of being held: try again.
    let answer = until("a poll to be held when the plane stops", || {
        let (poll, address) = (request("GET", &query).token(&token), plane.address);
        let held = std::thread::spawn(move || poll.try_send(address));
        plane.get("/api/statuses", &admin).expect(200);
        let began = Instant::now();
        plane.restart();
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        held.join().unwrap().ok()
    });
    assert_eq!(answer.expect(200)["change"]["kind"], "unchanged");
}
