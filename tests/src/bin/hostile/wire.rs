//! HTTP/1.1 as an attacker writes it: raw bytes, from any loopback address.
//!
//! Owns the connections and the parsing of response statuses. Other modules write the requests.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// The maximum time that a response may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The number of responses by status, or by a keyword for the failure if there was no response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answers(BTreeMap<String, usize>);

impl Answers {
    pub(crate) fn note(&mut self, answer: String) {
        *self.0.entry(answer).or_default() += 1;
    }

    /// Returns the number of responses of this kind.
    pub(crate) fn of(&self, answer: &str) -> usize {
        self.0.get(answer).copied().unwrap_or_default()
    }

    pub(crate) fn add(&mut self, more: Self) {
        for (answer, count) in more.0 {
            *self.0.entry(answer).or_default() += count;
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.0.values().sum()
    }

    /// Returns true if every response is one of these.
    pub(crate) fn are_all(&self, expected: &[&str]) -> bool {
        self.0.keys().all(|answer| expected.contains(&answer.as_str()))
    }
}

impl std::fmt::Display for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<String> = self
            .0
            .iter()
            .map(|(answer, count)| format!("{answer} × {count}"))
            .collect();
        f.write_str(&parts.join(", "))
    }
}

impl FromIterator<String> for Answers {
    fn from_iter<I: IntoIterator<Item = String>>(all: I) -> Self {
        let mut answers = Self::default();
        all.into_iter().for_each(|answer| answers.note(answer));
        answers
    }
}

/// Returns the `number`th address of an attacker with many addresses.
pub(crate) fn source(number: usize) -> Ipv4Addr {
    let number = u32::try_from(number).expect("a small number");
    Ipv4Addr::from(0x7f01_0002 + number % 0xff_0000)
}

/// Opens a connection whose source address is `from`.
pub(crate) async fn connect(to: SocketAddr, from: Ipv4Addr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    let connecting = timeout(PATIENCE, socket.connect(to)).await;
    connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Returns the head of a request. `length`, if any, is its content length.
pub(crate) fn head(line: &str, token: Option<&str>, length: Option<usize>) -> String {
    let mut head = format!("{line} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
    if let Some(token) = token {
        head.push_str(&format!("Authorization: Bearer {token}\r\n"));
    }
    if let Some(length) = length {
        head.push_str(&format!("Content-Length: {length}\r\n"));
    }
    head + "\r\n"
}

/// Reads the status of the next response. If there is none, returns a keyword for the failure instead.
pub(crate) async fn status(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match timeout(PATIENCE, stream.read(&mut piece)).await {
            Err(_) => return "no response".to_owned(),
            Ok(Err(_)) => return "reset".to_owned(),
            Ok(Ok(0)) => return "closed".to_owned(),
            Ok(Ok(read)) => bytes.extend_from_slice(&piece[..read]),
        }
        if let Some(status) = bytes.get(9..12) {
            return String::from_utf8_lossy(status).into_owned();
        }
    }
}

/// Sends `bytes` over a new connection, and reads at the same time. Returns the status and the number of bytes sent.
pub(crate) async fn ask(to: SocketAddr, from: Ipv4Addr, bytes: &[u8]) -> (String, usize) {
    let Ok(stream) = connect(to, from).await else {
        return ("not connected".to_owned(), 0);
    };
    let (mut input, mut output) = stream.into_split();
    let mut sent = 0;
    let sending = async {
        for piece in bytes.chunks(64 << 10) {
            if output.write_all(piece).await.is_err() {
                break;
            }
            sent += piece.len();
        }
        std::future::pending::<()>().await;
    };
    let answer = tokio::select! {
        answer = status(&mut input) => answer,
        () = sending => unreachable!("the sending future never completes"),
    };
    (answer, sent)
}
