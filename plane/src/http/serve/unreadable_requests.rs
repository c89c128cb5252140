//! Responses to requests that hyper cannot parse, and the end of their connections.
//!
//! Owns two corrections to hyper. First, hyper itself responds to a head that it cannot parse with a bare status line.
//! This module replaces that response with a problem report that has the headers of every response. Second, hyper
//! closes the connection at once. If the client is still sending, the kernel then resets the connection and the
//! response is lost. This module therefore reads the rest of the request for a moment (RFC 9112, section 9.6). It must
//! not change any other response.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::http::problem::Kind;
use crate::http::request_id::RequestId;
use crate::http::response::set_headers;

/// The time for which the rest of a refused request is read after the response.
const LINGER: Duration = Duration::from_secs(1);
/// The maximum number of bytes that are read from the rest.
const MOST_LINGERED: usize = 4 << 20;

/// Set when a request is refused before its body has been read to the end.
pub(super) type RefusalFlag = Arc<AtomicBool>;

/// A connection's stream in the form in which hyper uses it.
pub(super) struct ProblemStream<S> {
    stream: S,
    refused: RefusalFlag,
    /// True if responses tell the client that the plane is reached over TLS.
    over_tls: bool,
    /// The unsent rest of the response that replaces hyper's.
    left: Vec<u8>,
    /// The deadline for the client to finish, and the number of bytes that it may still send.
    linger: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ProblemStream<S> {
    pub(super) fn new(stream: S, over_tls: bool) -> (Self, RefusalFlag) {
        let refused = RefusalFlag::default();
        let stream = Self {
            stream,
            refused: Arc::clone(&refused),
            over_tls,
            left: Vec::new(),
            linger: None,
        };
        (stream, refused)
    }

    fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.left.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.left))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.left.drain(..written);
        }
        Poll::Ready(Ok(()))
    }

    /// Keeps reading until the client finishes, or exceeds its time or its number of bytes.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let (until, most) = self
            .linger
            .get_or_insert_with(|| (Box::pin(sleep(LINGER)), MOST_LINGERED));
        let mut space = [0; 8192];
        loop {
            if until.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            let mut read = ReadBuf::new(&mut space);
            if ready!(Pin::new(&mut self.stream).poll_read(context, &mut read)).is_err() {
                return Poll::Ready(());
            }
            let length = read.filled().len();
            if length == 0 || length > *most {
                return Poll::Ready(());
            }
            *most -= length;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ProblemStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ProblemStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_left(context))?;
        if let Some(status) = hypers_own(bytes) {
            self.left = answer(status, self.over_tls);
            self.refused.store(true, Ordering::Relaxed);
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_left(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(self.poll_left(context))?;
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        }
        if self.refused.load(Ordering::Relaxed) {
            ready!(self.poll_linger(context));
        }
        Poll::Ready(Ok(()))
    }
}

/// Returns the status if `bytes` is a response that hyper generated: only a head, complete in one write, without the
/// headers that every response from the plane has.
fn hypers_own(bytes: &[u8]) -> Option<StatusCode> {
    let head = std::str::from_utf8(bytes.get(..256.min(bytes.len()))?).ok()?;
    let fields = head.strip_suffix("\r\n\r\n")?.strip_prefix("HTTP/1.")?;
    let mut lines = fields.split("\r\n");
    let status = lines.next()?.get(2..5)?.parse().ok()?;
    let is_refusal = matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::URI_TOO_LONG | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    );
    let bare = lines.all(|line| {
        ["connection:", "content-length:", "date:"]
            .iter()
            .any(|name| line.starts_with(name))
    });
    (is_refusal && bare).then_some(status)
}

/// Returns the complete response, head and body.
fn answer(status: StatusCode, over_tls: bool) -> Vec<u8> {
    let detail = match status {
        StatusCode::URI_TOO_LONG => "the path and query are too long: shorten them",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            "the request's head is too large: send fewer and shorter headers (limits.max_head)"
        }
        _ => "the request is not valid HTTP/1.1: check its first line, its headers and its lengths",
    };
    let mut response: Response = Kind::of_status(status).because(detail).into_response();
    set_headers(&mut response, RequestId::new(), over_tls);
    let (parts, body) = response.into_parts();
    let body = body.collect().now_or_never().and_then(Result::ok);
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut bytes = format!(
        "HTTP/1.1 {} {reason}\r\nconnection: close\r\ncontent-length: {}\r\n",
        status.as_u16(),
        body.len()
    )
    .into_bytes();
    for (name, value) in &parts.headers {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hypers_own_refusals_are_replaced() {
        let own = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\
                   date: Thu, 26 Nov 2026 06:33:20 GMT\r\n\r\n";
        assert_eq!(hypers_own(own.as_bytes()).map(|status| status.as_u16()), Some(431));
        for ours in [
            &own.replace("431", "404"),
            &own.replace("431", "200"),
            &own.replace("\r\n\r\n", "\r\nx-request-id: 1\r\n\r\n"),
            &format!("{own}body"),
            "HTTP/1.1 100 Continue\r\n\r\n",
            "",
        ] {
            assert_eq!(hypers_own(ours.as_bytes()), None, "{ours}");
        }
    }

    #[test]
    fn the_replacement_response_is_a_problem_report() {
        let text = String::from_utf8(answer(StatusCode::BAD_REQUEST, true)).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        for wanted in [
            "application/problem+json",
            "nosniff",
            "x-request-id: ",
            "strict-transport-security: ",
        ] {
            assert!(head.contains(wanted), "{head}");
        }
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(body).unwrap()["code"],
            "bad_request"
        );
    }
}
