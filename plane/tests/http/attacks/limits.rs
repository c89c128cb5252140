//! Limits on the size and the duration of requests, and on connections.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::client::{answer, connect, parse, request, rest};
use crate::support::plane::TestPlane;

#[test]
fn a_head_that_is_too_large_is_refused_with_a_problem_report() {
    let plane = TestPlane::start_with(|config| config.limits.max_url = 1024);
    let get = |target: &str, more: &str| {
        answer(
            plane.address,
            &format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n"),
        )
    };
    let long = "x".repeat(17 << 10);
    get("/healthz", &format!("X-Long: {long}\r\n")).problem(431, "head_too_large");
    get(&format!("/{long}"), "").problem(431, "head_too_large");
    get(&format!("/{}", "x".repeat(2000)), "").problem(414, "uri_too_long");
    get(&format!("/healthz?{}", "x".repeat(2000)), "").problem(414, "uri_too_long");
    get("/healthz", &"X-One: 1\r\n".repeat(200)).problem(431, "head_too_large");
    // An endless head is not read forever.
    let mut endless = connect(plane.address);
    endless.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").unwrap();
    let mut sent = 0;
    while endless.write_all(b"X-More: and more\r\n").is_ok() {
        sent += 18;
        assert!(sent < 64 << 20, "the plane must stop reading");
    }
}

#[test]
fn a_body_that_is_too_large_is_refused_before_it_arrives() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let post = |headers: &str| {
        format!(
            "POST /api/servers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {admin}\r\nConnection: close\r\n\
             Content-Type: application/json\r\n{headers}\r\n"
        )
    };
    // A gigabyte is declared but not sent. A client that sends `Expect` gets no 100 Continue.
    for headers in [
        "Content-Length: 1000000000\r\n",
        "Content-Length: 1000000000\r\nExpect: 100-continue\r\n",
    ] {
        answer(plane.address, &post(headers)).problem(413, "body_too_large");
    }
    answer(plane.address, &post("Content-Length: 5\r\nContent-Encoding: gzip\r\n"))
        .problem(415, "unsupported_media_type");
    // A body within the limit gets 100 Continue.
    let mut stream = connect(plane.address);
    stream
        .write_all(post("Content-Length: 2\r\nExpect: 100-continue\r\n").as_bytes())
        .unwrap();
    let mut told = [0; 25];
    stream.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"{}").unwrap();
    parse(&rest(&mut stream)).unwrap().problem(422, "invalid_field");
    // A body without a declared length is read only slightly beyond the limit.
    let mut endless = connect(plane.address);
    endless
        .write_all(post("Transfer-Encoding: chunked\r\n").as_bytes())
        .unwrap();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let mut sent = 0;
    while endless.write_all(chunk.as_bytes()).is_ok() {
        sent += 0x10000;
        assert!(sent < 64 << 20, "the plane must stop reading");
    }
    assert!(sent >= 1 << 20);
}

#[test]
fn deep_nesting_is_refused_without_a_stack_overflow() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    for (open, path) in [
        ("[", "/api/servers"),
        ("{\"a\":", "/api/users"),
        ("{\"dns\":[", "/api/wg-clients/x"),
    ] {
        let post = request("POST", path)
            .token(&admin)
            .header("Content-Type", "application/json");
        let answer = post.body(open.repeat(100_000)).send(plane.address);
        assert!([400, 422].contains(&answer.status), "{open}: {}", answer.text());
    }
    request("GET", "/healthz").send(plane.address).expect(200);
}

#[test]
fn trickling_bodies_and_idle_connections_are_closed() {
    let plane = TestPlane::start_with(|config| {
        config.limits.body_timeout = Duration::from_secs(1);
        config.limits.header_timeout = Duration::from_secs(1);
        config.limits.min_body_rate = 1 << 20;
    });
    let mut idle = connect(plane.address);
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut trickle = connect(plane.address);
    let head = "POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10000\r\n\r\n";
    trickle.write_all(head.as_bytes()).unwrap();
    trickle.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let began = Instant::now();
    let mut bytes = Vec::new();
    // Occasional bytes do not extend the deadline.
    while bytes.is_empty() {
        let _ = trickle.write_all(b" ");
        let mut piece = [0; 4096];
        if let Ok(length) = trickle.read(&mut piece) {
            bytes.extend_from_slice(&piece[..length]);
        }
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "the plane does not drop the slow connection"
        );
    }
    trickle.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    bytes.extend(rest(&mut trickle));
    parse(&bytes).unwrap().problem(408, "request_timeout");
    assert!(String::from_utf8(rest(&mut idle)).unwrap().starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_connection_stays_authenticated_only_while_its_requests_carry_a_token() {
    let plane = TestPlane::start_with(|config| config.limits.max_connections = 8);
    let admin = plane.admin();
    let alive = |stream: &mut TcpStream, token: &str| {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{token}\r\n");
        let mut piece = [0; 4096];
        let answered = stream
            .write_all(request.as_bytes())
            .and_then(|()| stream.read(&mut piece));
        answered.is_ok_and(|length| piece[..length].starts_with(b"HTTP/1.1 200"))
    };
    let token = format!("Authorization: Bearer {admin}\r\n");
    let mut own = connect(plane.address);
    assert!(alive(&mut own, &token));
    let crowd = || {
        let mut strangers: Vec<TcpStream> = (0..8).map(|_| connect(plane.address)).collect();
        // Once the last connection is served, all earlier ones have been accepted.
        assert!(alive(strangers.last_mut().unwrap(), ""));
    };
    crowd();
    assert!(alive(&mut own, &token));
    assert!(alive(&mut own, ""), "a request without the token is served too");
    crowd();
    assert!(!alive(&mut own, &token));
}
