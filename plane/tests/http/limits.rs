//! What a caller may take of the plane, and what of a request is refused before it is understood.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Answer, parse, request};
use crate::plane::{TestPlane, until};
use crate::released::Released;

const LONG: Duration = Duration::from_secs(60);

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the plane listens");
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// All that comes until the plane closes.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("the plane does not close"),
        _ => bytes,
    }
}

/// What comes for these bytes, until the plane closes.
fn said(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    // One that is refused is not read to its end.
    let _ = stream.write_all(bytes);
    rest(&mut stream)
}

fn answer(address: SocketAddr, text: &str) -> Answer {
    let bytes = said(address, text.as_bytes());
    parse(&bytes).unwrap_or_else(|| panic!("{text:?}: {:?}", String::from_utf8_lossy(&bytes)))
}

/// Whether the plane has closed the connection, which has nothing more to say.
fn is_closed(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let outcome = (&*stream).read(&mut [0; 64]);
    stream.set_nonblocking(false).unwrap();
    !matches!(outcome, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

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
    // One that never ends is not read for ever.
    let mut endless = connect(plane.address);
    endless.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").unwrap();
    let mut sent = 0;
    while endless.write_all(b"X-More: and more\r\n").is_ok() {
        sent += 18;
        assert!(sent < 64 << 20, "it takes everything");
    }
}

#[test]
fn what_hyper_refuses_by_itself_has_the_headers_of_every_answer() {
    let plane = TestPlane::start();
    for bad in [
        "GET\r\n\r\n",
        "G\u{0}T / HTTP/1.1\r\n\r\n",
        "GET / HTTP/3.0\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nBad Name: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n folded: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX: a\u{0}b\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3}\r\n\r\n",
        "POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    ] {
        let answer = answer(plane.address, bad);
        answer.problem(400, "bad_request");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{bad:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(
            answer
                .header("content-security-policy")
                .unwrap()
                .contains("frame-ancestors 'none'")
        );
        assert_eq!(answer.header("x-request-id").map(str::len), Some(36));
    }
}

/// RUSTSEC-2024-0332, RUSTSEC-2026-0258 and their kind: there is no HTTP/2 to flood.
#[test]
fn rustsec_2024_0332_http_2_is_not_spoken() {
    let plane = TestPlane::start();
    let began = Instant::now();
    let mut stream = connect(plane.address);
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    assert!(rest(&mut stream).is_empty());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    // Asking for it in HTTP/1.1 changes nothing either.
    let upgrade = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n\
                   HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n";
    assert_eq!(answer(plane.address, upgrade).status, 200);
}

#[test]
fn a_request_within_a_request_is_never_answered() {
    let plane = TestPlane::start();
    let inner = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let post = |headers: &str, body: &str| {
        format!("POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}\r\n{body}")
    };
    let length = inner.len();
    for (headers, body) in [
        ("Content-Length: 0\r\nContent-Length: 5\r\n".to_owned(), inner),
        ("Content-Length: 0, 5\r\n".to_owned(), inner),
        ("Content-Length: +0\r\n".to_owned(), inner),
        ("Content-Length: 0x0\r\n".to_owned(), inner),
        ("Content-Length: 18446744073709551616\r\n".to_owned(), inner),
        ("Content-Length : 0\r\n".to_owned(), inner),
        ("Transfer-Encoding: identity\r\n".to_owned(), inner),
        ("Transfer-Encoding: chunked, identity\r\n".to_owned(), inner),
        ("Transfer-Encoding: xchunked\r\n".to_owned(), inner),
        ("Transfer-Encoding : chunked\r\n".to_owned(), inner),
        ("Transfer-Encoding: \u{b}chunked\r\n".to_owned(), inner),
    ] {
        let request = post(&headers, body);
        answer(plane.address, &request).problem(400, "bad_request");
    }
    // Both lengths: the chunks count and the connection ends (RFC 9112, section 6.3), so that nothing
    // behind them is taken for a request, whichever of the two a proxy in front believes.
    for headers in [
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", 5 + length),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", 5 + length),
    ] {
        let bytes = said(plane.address, post(&headers, &format!("0\r\n\r\n{inner}")).as_bytes());
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
        assert!(
            text.starts_with("HTTP/1.1 400 ") && text.contains("malformed_json"),
            "{text}"
        );
    }
    // Chunks that are none.
    for chunks in ["z\r\n", "-1\r\n", "ffffffffffffffffff\r\n", "1;\u{0}\r\nxx"] {
        let bytes = said(
            plane.address,
            post("Transfer-Encoding: chunked\r\n", &format!("{chunks}{inner}")).as_bytes(),
        );
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
        assert!(!text.contains(" 200 "), "{text}");
    }
    // A body that is longer than announced is the next request, which is none.
    let text = said(plane.address, post("Content-Length: 2\r\n", "{}{}\r\n\r\n").as_bytes());
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text.matches("HTTP/1.1 ").count(), 2, "{text}");
    assert!(text.rsplit("HTTP/1.1 ").next().unwrap().starts_with("400 "), "{text}");
}

#[test]
fn targets_and_methods_mean_only_what_they_say() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let line = |line: &str| {
        answer(
            plane.address,
            &format!("{line}\r\nHost: x\r\nConnection: close\r\n\r\n"),
        )
    };
    // Absolute form is taken (RFC 9112, section 3.2.2), by its path.
    assert_eq!(line("GET http://plane.example.com/healthz HTTP/1.1").status, 200);
    line("GET http://plane.example.com/nowhere HTTP/1.1").problem(404, "not_found");
    for strange in [
        "CONNECT plane.example.com:443 HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET * HTTP/1.1",
    ] {
        assert!([400, 404, 405].contains(&line(strange).status), "{strange}");
    }
    line("TRACE /healthz HTTP/1.1").problem(405, "method_not_allowed");
    line("get /healthz HTTP/1.1").problem(405, "method_not_allowed");
    assert_eq!(answer(plane.address, "GET /healthz HTTP/1.0\r\n\r\n").status, 200);
    answer(plane.address, "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n").problem(400, "bad_request");
    line("GET /healthz HTTP/1.1\r\nHost: y").problem(400, "bad_request");
    // A method in a header is no method.
    plane.add_server(&admin, "los-angeles");
    for header in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
        let get = request("GET", "/api/servers/los-angeles").token(&admin);
        get.header(header, "DELETE").send(plane.address).expect(200);
    }
}

#[test]
fn other_peoples_pages_can_do_nothing() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let origin = |request: crate::client::Request| request.header("Origin", "https://attacker.example");
    let preflight = origin(request("OPTIONS", "/api/servers"))
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "authorization, content-type")
        .send(plane.address);
    preflight.problem(405, "method_not_allowed");
    // What a form or an image can send: no preflight asks before it.
    let form = |kind: &str| {
        let post = origin(request("POST", "/api/users")).header("Content-Type", kind);
        post.body(r#"{"email":"x@example.com","password":"correct horse battery","role":"admin"}"#)
    };
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ] {
        form(kind).send(plane.address).problem(401, "unauthorized");
        form(kind)
            .send_local(&plane.socket())
            .problem(415, "unsupported_media_type");
        form(kind)
            .token(&admin)
            .send(plane.address)
            .problem(415, "unsupported_media_type");
    }
    for answer in [
        preflight,
        origin(request("GET", "/healthz")).send(plane.address),
        origin(request("GET", "/api/servers")).token(&admin).send(plane.address),
        origin(request("GET", "/nowhere")).send(plane.address),
        plane.try_login("ops@example.com", "correct horse battery"),
    ] {
        for name in answer.header_names() {
            let name = name.to_ascii_lowercase();
            assert!(!name.starts_with("access-control-") && name != "set-cookie", "{name}");
        }
    }
}

#[test]
fn cve_2022_41924_a_page_cannot_reach_the_local_socket_by_another_name() {
    let plane = TestPlane::start();
    let over = |host: &str| {
        let mut stream = UnixStream::connect(plane.socket()).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let head = format!("GET /api/users HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        parse(&bytes).unwrap()
    };
    over("localhost").expect(200);
    over("").expect(200);
    for host in ["attacker.example", "127.0.0.1.attacker.example", "plane"] {
        over(host).problem(421, "misdirected_request");
    }
}

#[test]
fn a_body_that_is_too_much_is_refused_before_it_comes() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let post = |headers: &str| {
        format!(
            "POST /api/servers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {admin}\r\nConnection: close\r\n\
             Content-Type: application/json\r\n{headers}\r\n"
        )
    };
    // A gigabyte that is announced, and none of it sent; whoever asks first is not told to go on.
    for headers in [
        "Content-Length: 1000000000\r\n",
        "Content-Length: 1000000000\r\nExpect: 100-continue\r\n",
    ] {
        answer(plane.address, &post(headers)).problem(413, "body_too_large");
    }
    answer(plane.address, &post("Content-Length: 5\r\nContent-Encoding: gzip\r\n"))
        .problem(415, "unsupported_media_type");
    // One that may come is told so.
    let mut stream = connect(plane.address);
    stream
        .write_all(post("Content-Length: 2\r\nExpect: 100-continue\r\n").as_bytes())
        .unwrap();
    let mut told = [0; 25];
    stream.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"{}").unwrap();
    parse(&rest(&mut stream)).unwrap().problem(422, "invalid_field");
    // A gigabyte without an announcement is read no further than the limit and a moment.
    let mut endless = connect(plane.address);
    endless
        .write_all(post("Transfer-Encoding: chunked\r\n").as_bytes())
        .unwrap();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let mut sent = 0;
    while endless.write_all(chunk.as_bytes()).is_ok() {
        sent += 0x10000;
        assert!(sent < 64 << 20, "it takes everything");
    }
    assert!(sent >= 1 << 20);
}

#[test]
fn deep_nesting_is_refused_and_breaks_no_stack() {
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
fn a_body_that_trickles_is_let_go_and_an_idle_connection_too() {
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
    // A byte now and then does not put it off.
    while bytes.is_empty() {
        let _ = trickle.write_all(b" ");
        let mut piece = [0; 4096];
        if let Ok(length) = trickle.read(&mut piece) {
            bytes.extend_from_slice(&piece[..length]);
        }
        assert!(began.elapsed() < Duration::from_secs(30), "it is not let go");
    }
    bytes.extend(rest(&mut trickle));
    parse(&bytes).unwrap().problem(408, "request_timeout");
    assert!(String::from_utf8(rest(&mut idle)).unwrap().starts_with("HTTP/1.1 200 "));
}

/// An agent that has confirmed everything, so that its next poll is held.
struct Agent<'p> {
    plane: &'p Released,
    token: String,
    query: String,
}

impl<'p> Agent<'p> {
    fn of(plane: &'p Released, server: &str) -> Self {
        let body = json!({"id": server, "endpoint": "vpn.example.com:51820", "address_pool": ["10.8.0.0/24"]});
        let made = request("POST", "/api/servers")
            .json(&body)
            .send_local(&plane.socket())
            .expect(201);
        let token = made["agent_token"].as_str().unwrap().to_owned();
        let first = request("GET", "/api/agent/desired")
            .token(&token)
            .send(plane.address)
            .expect(200);
        let wanted = first["prekeys_wanted"].as_u64().unwrap();
        let prekeys: Vec<_> = (0..wanted).map(|_| crate::agent::prekey()).collect();
        let post = |path: &str, body: Value| {
            request("POST", path)
                .token(&token)
                .json(&body)
                .send(plane.address)
                .expect(204);
        };
        post("/api/agent/prekeys", json!({"prekeys": prekeys}));
        let (life, revision) = (&first["incarnation"], &first["revision"]);
        post("/api/agent/applied", json!({"incarnation": life, "revision": revision}));
        let life = life.as_str().unwrap();
        let query = format!("/api/agent/desired?revision={revision}&incarnation={life}");
        Self { plane, token, query }
    }

    /// Dials, is known by an answer, and polls; the poll has no answer yet.
    fn poll(&self) -> TcpStream {
        let mut stream = connect(self.plane.address);
        let ask = |wait: u32| {
            format!(
                "GET {}&wait={wait} HTTP/1.1\r\nHost: plane\r\nAuthorization: Bearer {}\r\n\r\n",
                self.query, self.token
            )
        };
        stream.write_all(ask(0).as_bytes()).unwrap();
        answered(&mut stream);
        stream.write_all(ask(60).as_bytes()).unwrap();
        stream
    }
}

/// The answer, a JSON object, of a connection that goes on.
fn answered(poll: &mut TcpStream) -> Value {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"}") {
        let mut piece = [0; 4096];
        let length = poll.read(&mut piece).unwrap();
        assert!(length > 0, "the plane closed");
        bytes.extend_from_slice(&piece[..length]);
    }
    parse(&bytes).expect("an answer").expect(200)
}

#[test]
fn a_slowloris_costs_neither_agents_nor_admins_a_connection() {
    const MOST: usize = 60;
    let plane = Released::start(&format!("[limits]\nmax_connections = {MOST}\n"));
    let agents: Vec<Agent> = (0..20).map(|n| Agent::of(&plane, &format!("server-{n}"))).collect();
    let mut held: Vec<TcpStream> = agents.iter().map(Agent::poll).collect();
    let body = json!({"email": "ops@example.com", "password": "correct horse battery", "role": "admin"});
    request("POST", "/api/users")
        .json(&body)
        .send_local(&plane.socket())
        .expect(201);
    let login = json!({"email": "ops@example.com", "password": "correct horse battery"});
    let login = request("POST", "/api/login").json(&login);
    let mut slow = Vec::new();
    let mut slowest = Duration::ZERO;
    for round in 0..10 {
        for number in 0..50 {
            let mut stream = connect(plane.address);
            // Heads without end, bodies without end, and nothing at all.
            let beginning: &[u8] = match number % 3 {
                0 => b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow:",
                1 => b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
                _ => b"",
            };
            // One that made way for another is gone already.
            let _ = stream.write_all(beginning);
            slow.push(stream);
        }
        let began = Instant::now();
        let session = login.send(plane.address).expect(200);
        let token = session["token"].as_str().unwrap();
        request("GET", "/api/servers")
            .token(token)
            .send(plane.address)
            .expect(200);
        // Another agent comes back in the middle of it, and is held.
        let again = agents[round].poll();
        drop(again);
        slowest = slowest.max(began.elapsed());
    }
    let open = slow.iter().filter(|stream| !is_closed(stream)).count();
    println!("500 slow connections: {open} held, the admin's slowest round took {slowest:?}");
    assert!(open <= MOST / 2, "{open} strangers hold a connection");
    for stream in &held {
        assert!(!is_closed(stream), "an agent's poll was cut");
    }
    // And they are still served: a change reaches a poll that was held all the while.
    let change = json!({"mtu": 1300});
    request("PATCH", "/api/servers/server-0")
        .json(&change)
        .send_local(&plane.socket())
        .expect(200);
    let answer = answered(&mut held[0]);
    assert!(answer["change"]["kind"].is_string(), "{answer}");
    assert!(
        plane.log().contains("strangers have as many connections"),
        "{}",
        plane.log()
    );
}

/// GHSA-j65m-hv65-r264 was a limit that no program had wired in: this asks the program.
#[test]
fn ghsa_j65m_hv65_r264_one_address_takes_its_share_of_a_tls_plane_and_no_more() {
    let plane = Released::start("[tls]\nmode = \"self-signed\"\n[limits]\nmax_connections_per_address = 3\n");
    let streams: Vec<TcpStream> = (0..8).map(|_| connect(plane.address)).collect();
    until("the oldest five make way", || {
        let closed: Vec<bool> = streams.iter().map(is_closed).collect();
        (closed == [true, true, true, true, true, false, false, false]).then_some(())
    });
    assert!(
        plane.log().contains("limits.max_connections_per_address"),
        "{}",
        plane.log()
    );
}

#[test]
fn running_out_of_file_descriptors_ends_nothing() {
    let plane = Released::start_by(&["prlimit", "--nofile=64:64"], "");
    let agent = Agent::of(&plane, "los-angeles");
    let mut held = agent.poll();
    // More than it has descriptors for; the kernel keeps them in its queue.
    let streams: Vec<TcpStream> = (0..200).map(|_| connect(plane.address)).collect();
    until("it runs out", || {
        plane.log().contains("could not be accepted").then_some(())
    });
    // Newcomers get through all the same, strangers making way.
    request("GET", "/healthz").send(plane.address).expect(200);
    drop(streams);
    request("GET", "/api/servers").send_local(&plane.socket()).expect(200);
    assert!(!is_closed(&held), "the agent's poll was cut");
    let change = json!({"mtu": 1300});
    request("PATCH", "/api/servers/los-angeles")
        .json(&change)
        .send_local(&plane.socket())
        .expect(200);
    answered(&mut held);
}
