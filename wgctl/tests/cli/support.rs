//! Shared code for the command's tests: running the real binary, and a fake plane with canned responses.
//!
//! Contains no assertions about the command. Each test has its own home directory, so that the login of the
//! user who runs the tests is neither read nor changed.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A home directory that is removed when the test ends.
pub(crate) struct Home(pub(crate) PathBuf);

impl Home {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("wgctl-test-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Runs the binary with these arguments, separated by whitespace, and this standard input.
    pub(crate) fn run(&self, words: &str, input: &str) -> Output {
        self.run_with(words, input, &[])
    }

    /// Like [`Home::run`], with additional environment variables.
    pub(crate) fn run_with(&self, words: &str, input: &str, environment: &[(&str, &str)]) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wgctl"))
            .args(words.split_whitespace())
            .env_clear()
            .env("HOME", &self.0)
            .envs(environment.iter().copied())
            .current_dir(&self.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that reads no input may exit before the input is written.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A request as it was received.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) authorization: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) body: String,
}

/// An id like those that the plane assigns.
pub(crate) const ID: &str = "5f0c2f0e-5b0e-4c43-8a53-1b7d0f6f6a11";

/// Returns a peer in the plane's format.
pub(crate) fn peer(name: &str) -> String {
    format!(
        r#"{{"id":"{ID}","name":"{name}","enabled":true,"address":"10.8.0.2","addresses":["10.8.0.2","fd00:8::2"],
        "publicKey":"pOCSkrZRwni5dyxWn1+puxPZBrRqtoyd+dwrRAn4ogk=","privateKeyHeld":true,"presharedKey":true,
        "latestHandshakeAt":null,"transferRx":2048,"transferTx":0,"allowedIPs":["0.0.0.0/0"],"serverAllowedIPs":[],
        "dns":[],"persistentKeepalive":25,"mtu":null,"expiresAt":null,"createdAt":"2026-05-06T12:00:00Z",
        "updatedAt":"2026-05-06T12:00:00Z","applied":true,"pendingSince":null,"failed":null}}"#
    )
}

/// Returns a server in the plane's format, with additional members.
pub(crate) fn server(extra: &str) -> String {
    format!(
        r#"{{"id":"la","endpoint":"vpn.example.com:51820","address_pool":["10.8.0.0/24"],"addresses":["10.8.0.1"],"dns":[],
        "allowed_ips":["0.0.0.0/0"],"mtu":null,"persistent_keepalive":25,"interface":"wg0","listen_port":51820,
        "masquerade":false,"ping_target":null,"public_key":null,"peers":0,"created_at":"2026-05-06T12:00:00Z",
        "updated_at":"2026-05-06T12:00:00Z","desired_revision":1,"applied_revision":null,"failed":null{extra}}}"#
    )
}

/// An HTTP server on loopback with canned responses: `GET /path` → status and body. An entry whose path has no query
/// matches any query.
pub(crate) struct Plane {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    answers: Mutex<BTreeMap<String, (u16, String)>>,
    /// Replacement responses, each with the number of times that the old one is still sent.
    later: Mutex<BTreeMap<String, (usize, u16, String)>>,
    seen: Mutex<Vec<Seen>>,
    /// The number of upcoming requests that get no response.
    dropped: AtomicUsize,
}

impl Plane {
    pub(crate) fn new(answers: &[(&str, u16, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let plane = Self {
            url,
            shared: Arc::clone(&shared),
        };
        for (line, status, body) in answers {
            plane.answer(line, *status, body);
        }
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                shared.serve(BufReader::new(stream.unwrap()));
            }
        });
        plane
    }

    /// Sets the response to this request line.
    pub(crate) fn answer(&self, line: &str, status: u16, body: &str) {
        let mut answers = self.shared.answers.lock().unwrap();
        answers.insert(line.to_owned(), (status, body.to_owned()));
    }

    /// Sets the response to this request line after the current one has been sent `times` more times.
    pub(crate) fn answer_after(&self, times: usize, line: &str, status: u16, body: &str) {
        let mut later = self.shared.later.lock().unwrap();
        later.insert(line.to_owned(), (times, status, body.to_owned()));
    }

    /// Closes the connection without a response for the next `count` requests.
    pub(crate) fn hang_up(&self, count: usize) {
        self.shared.dropped.store(count, Ordering::SeqCst);
    }

    /// Returns the received requests, in order.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }
}

impl Shared {
    fn serve(&self, mut reader: BufReader<std::net::TcpStream>) {
        let Some(request) = read(&mut reader) else { return };
        let (status, body) = {
            let mut answers = self.answers.lock().unwrap();
            if let Some((times, status, body)) = self.later.lock().unwrap().get_mut(&request.line) {
                match times.checked_sub(1) {
                    Some(left) => *times = left,
                    None => drop(answers.insert(request.line.clone(), (*status, body.clone()))),
                }
            }
            let path = request.line.split('?').next().unwrap();
            let found = answers.get(&request.line).or_else(|| answers.get(path));
            let unknown = (404, problem(404, "not_found", "not found"));
            found.cloned().unwrap_or(unknown)
        };
        self.seen.lock().unwrap().push(request);
        let one_less = |left: usize| left.checked_sub(1);
        if self
            .dropped
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
            .is_ok()
        {
            return;
        }
        let kind = if status < 400 {
            "application/json"
        } else {
            "application/problem+json"
        };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        // The client may have closed the connection already.
        let _ = reader.get_mut().write_all(format!("{head}{body}").as_bytes());
    }
}

/// Returns a problem report in the plane's format.
pub(crate) fn problem(status: u16, code: &str, detail: &str) -> String {
    format!(
        r#"{{"type":"urn:sentrazone:problem:{code}","title":"x","status":{status},"detail":"{detail}","code":"{code}"}}"#
    )
}

/// Reads a request; `None` if the client disconnects before the request is complete.
fn read(reader: &mut BufReader<std::net::TcpStream>) -> Option<Seen> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let header = |name: &str| {
        head.iter()
            .filter_map(|line| line.split_once(": "))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
    };
    let mut body = vec![0; header("content-length").map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    let line = head
        .first()
        .map(|line| line.trim_end_matches(" HTTP/1.1").to_owned())
        .unwrap_or_default();
    Some(Seen {
        line,
        authorization: header("authorization"),
        idempotency_key: header("idempotency-key"),
        body: String::from_utf8(body).unwrap(),
    })
}
