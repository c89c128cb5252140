//! Malicious requests: smuggling, ambiguous lengths, protocol upgrades, forged methods, cross-site requests.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::support::client::{Request, answer, connect, parse, request, rest, said};
use crate::support::plane::TestPlane;

#[test]
fn refusals_by_hyper_itself_have_the_headers_of_every_response() {
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

/// RUSTSEC-2024-0332, RUSTSEC-2026-0258 and similar: the plane does not serve HTTP/2.
#[test]
fn rustsec_2024_0332_http_2_is_not_supported() {
    let plane = TestPlane::start();
    let began = Instant::now();
    let mut stream = connect(plane.address);
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    assert!(rest(&mut stream).is_empty());
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    // An upgrade request over HTTP/1.1 is ignored as well.
    let upgrade = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n\
                   HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n";
    assert_eq!(answer(plane.address, upgrade).status, 200);
}

#[test]
fn a_request_smuggled_inside_another_is_never_answered() {
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
    // With both headers, chunked encoding takes precedence and the connection is closed (RFC 9112, section 6.3).
    // Nothing after the body is read as a request, whichever length a proxy in front uses.
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
    // Malformed chunks.
    for chunks in ["z\r\n", "-1\r\n", "ffffffffffffffffff\r\n", "1;\u{0}\r\nxx"] {
        let bytes = said(
            plane.address,
            post("Transfer-Encoding: chunked\r\n", &format!("{chunks}{inner}")).as_bytes(),
        );
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
        assert!(!text.contains(" 200 "), "{text}");
    }
    // Bytes beyond the declared length are read as the next request, which is malformed.
    let text = said(plane.address, post("Content-Length: 2\r\n", "{}{}\r\n\r\n").as_bytes());
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text.matches("HTTP/1.1 ").count(), 2, "{text}");
    assert!(text.rsplit("HTTP/1.1 ").next().unwrap().starts_with("400 "), "{text}");
}

#[test]
fn targets_and_methods_are_never_reinterpreted() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let line = |line: &str| {
        answer(
            plane.address,
            &format!("{line}\r\nHost: x\r\nConnection: close\r\n\r\n"),
        )
    };
    // Absolute form is accepted (RFC 9112, section 3.2.2); the path decides.
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
    // Headers that override the method are ignored.
    plane.add_server(&admin, "los-angeles");
    for header in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
        let get = request("GET", "/api/servers/los-angeles").token(&admin);
        get.header(header, "DELETE").send(plane.address).expect(200);
    }
}

#[test]
fn pages_on_other_sites_can_do_nothing() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let origin = |request: Request| request.header("Origin", "https://attacker.example");
    let preflight = origin(request("OPTIONS", "/api/servers"))
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "authorization, content-type")
        .send(plane.address);
    preflight.problem(405, "method_not_allowed");
    // Requests that a form or an image can send without a preflight.
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
fn cve_2022_41924_a_page_cannot_reach_the_local_socket_under_another_name() {
    let plane = TestPlane::start();
    let over = |host: &str| {
        let mut stream = UnixStream::connect(plane.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
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
