//! A separate address for the metrics page: plain HTTP, without a token.
//!
//! Owns access control (only this machine unless declared otherwise, and protection against DNS rebinding), the limit
//! on connections, and the restriction to the one page. It must not know what is on the page.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::http::uri::Authority;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore};

use super::page::{CONTENT_TYPE, PATH};

/// The maximum number of simultaneous connections. Further ones wait.
const CONNECTIONS: usize = 16;
/// The time limit for a request's head and for an idle keep-alive connection. A connection need not stay open
/// until the next scrape.
const HEAD: Duration = Duration::from_secs(10);
/// The time limit for a connection, including responses that the client does not read.
const CONNECTION: Duration = Duration::from_secs(60);
/// The maximum size of a request's head, in bytes.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// The pause after a failed accept.
const PAUSE: Duration = Duration::from_millis(100);

/// Checks that the page may be served at `address`. `declared` is true if other machines are meant to reach it.
pub fn check_listen(address: SocketAddr, declared: bool) -> Result<(), String> {
    if declared || address.ip().is_loopback() {
        return Ok(());
    }
    Err(format!(
        "{address} is not a loopback address: anyone who can reach it could read the metrics without a token"
    ))
}

/// A bound address that does not accept connections yet.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listening {
    /// Binds the address.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Returns the bound address with its actual port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves the text that `page` returns, to one client at a time, until dropped. If `page` returns `None`,
    /// the response is an error (503).
    pub async fn serve<P, F>(self, page: P)
    where
        P: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Option<String>> + Send,
    {
        let page = Arc::new(Mutex::new(page));
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let local = self.address.ip().is_loopback();
        // When this task ends, all its connections end too.
        let mut connections = tokio::task::JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                return;
            };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!("a connection to the metrics could not be accepted: {error}");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let page = Arc::clone(&page);
            connections.spawn(async move {
                let _slot = slot;
                let service = service_fn(move |request: Request<Incoming>| {
                    let page = Arc::clone(&page);
                    async move { Ok::<_, Infallible>(answer(&request, local, &page).await) }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD)
                    .max_buf_size(MAX_HEAD_BYTES)
                    .serve_connection(TokioIo::new(stream), service);
                // A scraper connects again. A client that does not read must not block others.
                if let Ok(Err(error)) = tokio::time::timeout(CONNECTION, connection).await {
                    tracing::debug!("a connection to the metrics broke: {error}");
                }
            });
        }
    }
}

async fn answer<P, F>(request: &Request<Incoming>, local: bool, page: &Mutex<P>) -> Response<Full<Bytes>>
where
    P: Fn() -> F,
    F: Future<Output = Option<String>>,
{
    if local && !is_local(request) {
        return refusal(
            StatusCode::FORBIDDEN,
            "only programs on this machine may read this: use an IP address or localhost as the host\n",
        );
    }
    if request.uri().path() != PATH {
        return refusal(StatusCode::NOT_FOUND, "only /metrics is served here\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = refusal(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are allowed\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        refused.headers_mut().insert(header::ALLOW, allowed);
        return refused;
    }
    let page = page.lock().await;
    match page().await {
        Some(text) => response(StatusCode::OK, CONTENT_TYPE, text.into()),
        None => refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "the metrics cannot be read now: see the log\n",
        ),
    }
}

/// Returns true if the request names the host by an IP address or as `localhost`. With any other name, a web
/// page could make a browser on this machine read the metrics for it (DNS rebinding).
fn is_local(request: &Request<Incoming>) -> bool {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(authority) = host.and_then(|host| host.parse::<Authority>().ok()) else {
        return false;
    };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

fn refusal(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

fn response(status: StatusCode, media_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    async fn ask(address: SocketAddr, request: &str) -> String {
        ask_as(&address.to_string(), address, request).await
    }

    async fn ask_as(host: &str, address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn only_the_metrics_page_is_served() {
        let listening = Listening::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listening.address();
        let serving = tokio::spawn(listening.serve(|| async { Some("up 1\n".to_owned()) }));
        let page = ask(address, "GET /metrics").await;
        assert!(page.starts_with("HTTP/1.1 200") && page.ends_with("up 1\n"), "{page}");
        assert!(page.contains("text/plain; version=0.0.4"), "{page}");
        assert!(ask(address, "GET /api/servers").await.starts_with("HTTP/1.1 404"));
        let refused = ask(address, "POST /metrics").await;
        assert!(
            refused.starts_with("HTTP/1.1 405") && refused.contains("allow: GET, HEAD"),
            "{refused}"
        );
        for host in ["localhost:9586", "[::1]:9586", "LOCALHOST"] {
            assert!(
                ask_as(host, address, "GET /metrics").await.starts_with("HTTP/1.1 200"),
                "{host}"
            );
        }
        for host in ["rebound.example.com", "localhost.example.com:9586", ""] {
            let refused = ask_as(host, address, "GET /metrics").await;
            assert!(
                refused.starts_with("HTTP/1.1 403") && !refused.contains("up 1"),
                "{host}: {refused}"
            );
        }
        serving.abort();
    }

    #[test]
    fn other_machines_can_read_the_metrics_only_if_that_is_declared() {
        let check = |address: &str, declared| check_listen(address.parse().unwrap(), declared);
        assert!(check("127.0.0.1:9586", false).is_ok() && check("[::1]:9586", false).is_ok());
        assert!(check("0.0.0.0:9586", false).unwrap_err().contains("without a token"));
        assert!(check("0.0.0.0:9586", true).is_ok());
    }
}
