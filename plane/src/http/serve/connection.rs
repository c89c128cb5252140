//! One connection from its first byte to its last, driven by hyper.
//!
//! Owns the TLS handshake, the limits and timeouts for the head, the data about its connection that a request carries,
//! and the ways in which a connection ends: by itself, because it is dropped in favour of another, or because the plane
//! stops. It must not interpret requests: that belongs to the router.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::connection_limits::ConnectionPermit;
use super::origin::Origin;
use super::unreadable_requests::{ProblemStream, RefusalFlag};
use crate::config::Limits;
use crate::http::app::Phase;
use crate::http::metrics::HttpMetrics;

/// The maximum number of bytes that are read or written at once. The head of a request has a separate limit.
const MOST_BUFFERED: usize = 64 << 10;
/// The maximum number of headers in a request.
const MOST_HEADERS: usize = 100;

/// Everything that is needed to drive a connection.
#[derive(Clone)]
pub(super) struct Driver {
    pub(super) router: Router,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) limits: Limits,
    /// True if responses over TCP tell the client that the plane is reached over TLS.
    pub(super) is_secure: bool,
    pub(super) metrics: HttpMetrics,
    /// A sender that is never used to send: the channel closes when the last task drops its sender.
    pub(super) guard: mpsc::Sender<Infallible>,
}

impl Driver {
    /// Drives a TCP connection, after a handshake if TLS is on.
    pub(super) async fn drive_tcp(
        self,
        stream: TcpStream,
        origin: Origin,
        permit: ConnectionPermit,
        tls: Option<TlsAcceptor>,
    ) {
        let Some(tls) = tls else {
            return self.drive(stream, origin, Some(permit)).await;
        };
        let mut phase = self.phase.clone();
        let shaken = tokio::select! {
            shaken = timeout(self.limits.header_timeout, tls.accept(stream)) => shaken,
            () = permit.dropped() => return,
            _ = phase.wait_for(|phase| *phase != Phase::Serving) => return,
        };
        match shaken {
            Ok(Ok(stream)) => self.drive(stream, origin, Some(permit)).await,
            Ok(Err(error)) => tracing::debug!("a TLS handshake failed: {error}"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    /// Drives a connection. `permit` is `None` if the number of connections is limited elsewhere.
    pub(super) async fn drive<S>(self, stream: S, origin: Origin, permit: Option<ConnectionPermit>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self {
            router,
            mut phase,
            limits,
            is_secure,
            metrics,
            guard: _guard,
        } = self;
        let _open = metrics.connected(&origin);
        let (stream, refused) = ProblemStream::new(stream, is_secure && permit.is_some());
        let trust = permit.as_ref().map(ConnectionPermit::trust);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(origin.clone());
            if let Some(trust) = &trust {
                request.extensions_mut().insert(trust.clone());
            }
            answer(router.clone(), request, RefusalFlag::clone(&refused))
        });
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.header_timeout)
                .max_buf_size(MOST_BUFFERED)
                .max_header_size(limits.max_head)
                .max_headers(MOST_HEADERS)
                // Makes hyper send each of its own responses in one write: see `unreadable_requests`.
                .writev(false)
                .serve_connection(TokioIo::new(stream), service)
        );
        let dropped = async {
            match &permit {
                Some(permit) => permit.dropped().await,
                None => pending().await,
            }
        };
        let mut dropped = pin!(dropped);
        loop {
            let now = *phase.borrow_and_update();
            match now {
                Phase::Serving => {}
                Phase::Draining => connection.as_mut().graceful_shutdown(),
                Phase::Over => return,
            }
            tokio::select! {
                ended = poll_fn(|context| connection.as_mut().poll(context)) => {
                    if let Err(error) = ended {
                        tracing::debug!("a connection failed: {error}");
                    }
                    return;
                }
                () = &mut dropped => {
                    tracing::debug!("an unauthenticated connection was dropped in favour of another");
                    return;
                }
                changed = phase.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// Answers the request through the router. Sets `refused` if a request with a body is not successful, because the
/// response may then precede the end of the body.
async fn answer(
    router: Router,
    request: Request<Incoming>,
    refused: RefusalFlag,
) -> Result<axum::response::Response, Infallible> {
    let has_body = !request.body().is_end_stream();
    let response = router.oneshot(request.map(Body::new)).await?;
    if has_body && !response.status().is_success() {
        refused.store(true, Ordering::Relaxed);
    }
    Ok(response)
}
