//! Whole requests to a running plane, as unauthenticated callers, users and agents may send them: target, query,
//! headers, token and body. The plane must respond, but never with an internal error.
//!
//! An input consists of a request's first line, headers, an empty line and a body. `@admin`, `@agent` and
//! `@viewer` in the headers are replaced by valid tokens. This target adds the headers that frame the body.

#![no_main]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sentrazone_plane::{Config, Plane};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery";

struct Running {
    address: SocketAddr,
    tokens: [(&'static str, String); 3],
    _folder: tempfile::TempDir,
}

static PLANE: LazyLock<Running> = LazyLock::new(start);

fn start() -> Running {
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    let socket = folder.path().join("plane.sock");
    let config = Config {
        listen: vec!["127.0.0.1:0".parse().expect("an address")],
        state_dir: folder.path().join("state"),
        socket: Some(socket.clone()),
        apply_timeout: Duration::ZERO,
        ..Config::default()
    };
    let (bound, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let plane = Plane::bind(&config).await.expect("the plane starts");
            bound.send(plane.addresses()[0]).expect("the receiver waits");
            plane.serve(std::future::pending()).await.expect("the plane runs");
        });
    });
    let address = address.recv().expect("the plane starts");
    for role in ["admin", "viewer"] {
        let user = json!({"email": format!("{role}@example.com"), "password": PASSWORD, "role": role});
        local(&socket, "POST /api/users", &user);
    }
    let server = json!({"id": "los-angeles", "endpoint": "h:1", "address_pool": ["10.8.0.0/24", "fd00:8::/64"]});
    let agent = local(&socket, "POST /api/servers", &server)["agent_token"].clone();
    let login = |role: &str| {
        let body = json!({"email": format!("{role}@example.com"), "password": PASSWORD});
        local(&socket, "POST /api/login", &body)["token"].clone()
    };
    let text = |token: Value| token.as_str().expect("a token").to_owned();
    Running {
        address,
        tokens: [
            ("@admin", text(login("admin"))),
            ("@viewer", text(login("viewer"))),
            ("@agent", text(agent)),
        ],
        _folder: folder,
    }
}

fn local(socket: &Path, line: &str, body: &Value) -> Value {
    let body = body.to_string();
    let head = format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n");
    let mut stream = UnixStream::connect(socket).expect("the socket");
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("a response");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// Returns true for headers that determine the end of the body or delay the response.
fn frames(line: &[u8]) -> bool {
    let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
    let name = String::from_utf8_lossy(name).trim().to_ascii_lowercase();
    [
        "content-length",
        "transfer-encoding",
        "connection",
        "expect",
        "upgrade",
        "",
    ]
    .contains(&name.as_str())
}

/// Converts the input into bytes on the wire. Returns `None` if the request would wait or has no first line.
fn request(data: &[u8], tokens: &[(&str, String)]) -> Option<Vec<u8>> {
    let end = data.windows(2).position(|two| two == b"\n\n").unwrap_or(data.len());
    let (head, body) = data.split_at(end);
    let body = body.get(2..).unwrap_or_default();
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = lines.next()?;
    // A poll would wait for as long as it requests.
    if first.windows(4).any(|four| four == b"wait") || first.is_empty() {
        return None;
    }
    let mut bytes = first.to_vec();
    bytes.extend_from_slice(b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for line in lines.filter(|line| !frames(line)) {
        let mut line = line.to_vec();
        for (mark, token) in tokens {
            if let Some(at) = line.windows(mark.len()).position(|some| some == mark.as_bytes()) {
                line.splice(at..at + mark.len(), token.bytes());
            }
        }
        bytes.extend_from_slice(&line);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(body);
    Some(bytes)
}

fuzz_target!(|data: &[u8]| {
    let Some(bytes) = request(data, &PLANE.tokens) else {
        return;
    };
    let mut stream = TcpStream::connect(PLANE.address).expect("the plane listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    // A request that is refused because of its head is not read completely.
    let _ = stream.write_all(&bytes);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let shown = || {
        format!(
            "{:?} → {:?}",
            String::from_utf8_lossy(&bytes),
            String::from_utf8_lossy(&answer)
        )
    };
    assert!(
        !answer.is_empty() || read.is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock),
        "{}",
        shown()
    );
    let status = answer.get(9..12).unwrap_or_default();
    assert!(status != b"500", "{}", shown());
});
