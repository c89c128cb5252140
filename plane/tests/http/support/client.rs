//! A blocking HTTP client that sends exactly the bytes that the test wrote.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(180);

/// A parsed HTTP response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn header_names(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().map(|(name, _)| name.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?} {:?}", self.text()))
    }

    /// Returns the JSON body of the response. Panics unless the response has this status.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// Returns the problem report in the response, after checking the status, the code and that the report is complete.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("urn:sentrazone:problem:{code}"));
        assert!(
            problem["title"].is_string() && problem["detail"].is_string(),
            "{problem}"
        );
        if status == 401 {
            assert!(
                self.header("www-authenticate")
                    .is_some_and(|value| value.starts_with("Bearer"))
            );
        }
        problem
    }
}

/// A request under construction.
#[derive(Clone)]
pub(crate) struct Request {
    head: String,
    body: Vec<u8>,
}

pub(crate) fn request(method: &str, path: &str) -> Request {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: plane\r\nConnection: close\r\n");
    Request { head, body: Vec::new() }
}

impl Request {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.head.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    pub(crate) fn token(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string())
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.header("Content-Length", &length)
    }

    pub(crate) fn send(&self, address: SocketAddr) -> Answer {
        self.try_send(address).expect("the plane responds")
    }

    pub(crate) fn try_send(&self, address: SocketAddr) -> std::io::Result<Answer> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        self.over(stream)
    }

    pub(crate) fn send_local(&self, socket: &Path) -> Answer {
        let stream = UnixStream::connect(socket).expect("the socket is there");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let mut local = self.clone();
        local.head = local.head.replacen("Host: plane\r\n", "Host: localhost\r\n", 1);
        local.over(stream).expect("the plane responds")
    }

    /// Sends only the beginning of the body, then closes the sending side. Returns `None` if no response comes.
    pub(crate) fn send_and_close(&self, address: SocketAddr, beginning: &[u8]) -> Option<Answer> {
        let mut stream = TcpStream::connect(address).expect("the plane listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.write_all(format!("{}\r\n", self.head).as_bytes()).ok()?;
        stream.write_all(beginning).ok()?;
        stream.shutdown(std::net::Shutdown::Write).ok()?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).ok()?;
        parse(&bytes)
    }

    fn over(&self, mut stream: impl Read + Write) -> std::io::Result<Answer> {
        stream.write_all(format!("{}\r\n", self.head).as_bytes())?;
        // The write fails if the plane refuses the declared length: it does not read such a body.
        let _ = stream.write_all(&self.body);
        let mut bytes = Vec::new();
        match stream.read_to_end(&mut bytes) {
            Err(error) if bytes.is_empty() => return Err(error),
            _ => {}
        }
        let answer = parse(&bytes).ok_or(std::io::ErrorKind::UnexpectedEof)?;
        crate::support::document::check(&self.head, &answer);
        Ok(answer)
    }
}

/// Parses a response. Returns `None` if it is incomplete.
pub(crate) fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let rest = &bytes[end + 4..];
    let chunked = headers
        .iter()
        .any(|(name, value)| name.eq_ignore_ascii_case("transfer-encoding") && value == "chunked");
    let body = if chunked { dechunk(rest)? } else { rest.to_vec() };
    Some(Answer { status, headers, body })
}

fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + length)?);
        rest = rest.get(end + 2 + length + 2..)?;
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the plane listens");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Returns everything that arrives until the plane closes the connection.
pub(crate) fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("the plane does not close the connection"),
        _ => bytes,
    }
}

/// Sends these bytes and returns everything that arrives until the plane closes the connection.
pub(crate) fn said(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    // The write may fail, because the plane does not read a refused request to its end.
    let _ = stream.write_all(bytes);
    rest(&mut stream)
}

pub(crate) fn answer(address: SocketAddr, text: &str) -> Answer {
    let bytes = said(address, text.as_bytes());
    parse(&bytes).unwrap_or_else(|| panic!("{text:?}: {:?}", String::from_utf8_lossy(&bytes)))
}

/// Returns true if the plane has closed the connection. Assumes that no data is waiting to be read.
pub(crate) fn is_closed(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let outcome = (&*stream).read(&mut [0; 64]);
    stream.set_nonblocking(false).unwrap();
    !matches!(outcome, Err(error) if error.kind() == ErrorKind::WouldBlock)
}
