//! The plane's log at the most verbose level, while hostile text arrives from all sides: each
//! record must stay one line of plain text, and must not contain a secret.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;

use sentrazone_tests::loopback::LoopbackPlane;
use sentrazone_tests::process::binary;
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery canary";

/// Text that would forge a record if it began a line, with terminal control sequences.
const FORGED: &str = "\r\n2026-01-01T00:00:00Z  INFO FORGED\n\u{1b}]0;FORGED\u{7}\u{1b}[2J\u{85}\u{2028}\u{202e}\0";

/// Sends one request over a new connection. Returns the whole response.
fn ask(port: u16, head: &[u8], body: &[u8]) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let length = format!("\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(&[head, length.as_bytes(), body].concat()).unwrap();
    let mut answer = Vec::new();
    // The plane may close the connection after a head that it refuses.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(port: u16, path: &str, token: &str, body: &Value) -> Value {
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer {token}");
    let answer = ask(port, head.as_bytes(), body.to_string().as_bytes());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_record_stays_on_one_line_and_contains_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let talkative = folder.path().join("talkative-plane");
    let plane = binary("sentrazone-plane").display().to_string();
    std::fs::write(
        &talkative,
        format!("#!/bin/sh\nSENTRAZONE_LOG=trace exec '{plane}' \"$@\"\n"),
    )
    .unwrap();
    std::fs::set_permissions(&talkative, PermissionsExt::from_mode(0o700)).unwrap();
    let mut plane = LoopbackPlane::start_from(&talkative).await;
    let (port, admin) = (plane.port(), plane.admin());
    let user = json!({"email": "ops@example.com", "password": PASSWORD, "role": "admin"});
    admin
        .create_user(&serde_json::from_value(user).unwrap(), None)
        .await
        .unwrap();
    let login = post(
        port,
        "/api/login",
        "-",
        &json!({"email": "ops@example.com", "password": PASSWORD}),
    );
    let session = login["token"].as_str().unwrap().to_owned();
    let agent = plane
        .server("los-angeles", "192.0.2.1:51820", &["10.8.0.0/24"])
        .await
        .agent_token;

    post(port, "/api/login", "-", &json!({"email": FORGED, "password": FORGED}));
    post(
        port,
        "/api/login",
        "-",
        &json!({"email": "a@b", "password": PASSWORD, FORGED: 1}),
    );
    post(
        port,
        "/api/wg-clients/los-angeles",
        &session,
        &json!({"name": FORGED, "publicKey": FORGED}),
    );
    post(
        port,
        "/api/servers",
        &session,
        &json!({"id": FORGED, "endpoint": FORGED, "address_pool": [FORGED]}),
    );
    let desired = ask(
        port,
        format!("GET /api/agent/desired HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {agent}").as_bytes(),
        b"",
    );
    let desired: Value = serde_json::from_str(desired.split_once("\r\n\r\n").unwrap().1).unwrap();
    let applied = json!({"incarnation": desired["incarnation"], "revision": 1, "interface_failed": FORGED});
    post(port, "/api/agent/applied", &agent, &applied);
    post(
        port,
        "/api/report",
        &agent,
        &json!({"server_id": FORGED, "peers": 0, "transfer_rx": 0, "transfer_tx": 0}),
    );
    post(
        port,
        "/api/agent/hello",
        &agent,
        &json!({"version": 1, "agent_version": FORGED, "public_key": FORGED}),
    );
    // Bytes that are not allowed in a URL or header, raw and escaped.
    for head in [
        format!("GET /{FORGED} HTTP/1.1\r\nHost: x"),
        "GET /%0d%0aFORGED%1b%5b2J%e2%80%a8?q=%0aFORGED HTTP/1.1\r\nHost: x".to_owned(),
        "GET /\u{2028}\u{202e}FORGED HTTP/1.1\r\nHost: x".to_owned(),
        format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {FORGED}"),
        format!("GET /healthz HTTP/1.1\r\nHost: x\r\nAuthorization: {FORGED}"),
        format!("{FORGED} / HTTP/1.1\r\nHost: x"),
        "GET /healthz HTTP/1.1\r\nHost: \u{1b}[2JFORGED".to_owned(),
    ] {
        ask(port, head.as_bytes(), b"");
    }
    assert!(plane.process().stop().success());
    judge(&plane.process().log(), &[PASSWORD, &session, &agent]);
}

fn judge(log: &str, secrets: &[&str]) {
    assert!(log.lines().count() > 15, "the log is too short: {log}");
    let obeyed = |c: char| c != '\n' && (c.is_control() || "\u{2028}\u{2029}\u{202e}".contains(c));
    for line in log.split('\n') {
        assert!(!line.contains(obeyed), "{line:?}");
        let forged = line.starts_with("FORGED") || line.starts_with("2026-01-01");
        assert!(!forged, "one record became two: {line:?}");
    }
    for secret in secrets {
        assert!(!log.contains(secret), "a secret is in the log");
    }
}
