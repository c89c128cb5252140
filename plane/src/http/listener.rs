//! Accepting connections and driving them with hyper.
//!
//! Owns the bound addresses, how many connections there may be, their timeouts and how they end.
//! It must not know what is said over them: that is the router's.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::TcpUserTimeout;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tower::ServiceExt as _;

use super::app::{App, Phase};
use super::local::{self, LocalSocket};
use super::peer::Peer;
use super::router;
use crate::config::{Config, Limits};

/// A request's head, bytes.
const MOST_HEAD: usize = 64 << 10;
/// Connections over the local socket, apart from the others: a flood must not keep the admin out.
const LOCAL_CONNECTIONS: usize = 64;
/// After an accept that failed for want of file descriptors, until some are free again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long sent data may stay unread at the other end (TCP_USER_TIMEOUT, tcp(7)).
const UNREAD_MILLISECONDS: u32 = 60_000;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A TCP address.
    #[error("cannot listen on {address}: {source}; another program may be using it (listen in the configuration)")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The local socket.
    #[error("cannot listen on the socket {path}: {source} (socket in the configuration)")]
    Socket {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl BindError {
    /// Whether somebody else has it.
    pub(crate) fn is_in_use(&self) -> bool {
        let (Self::Tcp { source, .. } | Self::Socket { source, .. }) = self;
        source.kind() == io::ErrorKind::AddrInUse
    }
}

/// The bound sockets, before anything is accepted.
pub(crate) struct Listener {
    tcp: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    local: Option<LocalSocket>,
}

impl Listener {
    /// Binds everything the configuration names, and logs each address.
    pub(crate) async fn bind(config: &Config) -> Result<Self, BindError> {
        let (mut tcp, mut addresses) = (Vec::new(), Vec::new());
        for &address in &config.listen {
            let bound = async {
                let listener = TcpListener::bind(address).await?;
                let bound = listener.local_addr()?;
                Ok((listener, bound))
            };
            let (listener, bound) = bound.await.map_err(|source| BindError::Tcp { address, source })?;
            tcp.push(listener);
            addresses.push(bound);
        }
        let local = match &config.socket {
            None => None,
            Some(path) => Some(LocalSocket::bind(path).await.map_err(|source| BindError::Socket {
                path: path.clone(),
                source,
            })?),
        };
        for address in &addresses {
            tracing::info!("listening on http://{address}");
        }
        if let Some(path) = &config.socket {
            tracing::info!("listening on unix:{}", path.display());
        }
        Ok(Self { tcp, addresses, local })
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until `shutdown` is over and the connections have ended, at most as long as the
    /// limits allow; returns when every connection's task is gone.
    pub(crate) async fn serve(self, app: App, shutdown: impl Future<Output = ()>) {
        let limits = app.shared().limits.clone();
        let (guard, mut all_gone) = mpsc::channel::<Infallible>(1);
        let server = Server {
            router: router(app.clone()),
            phase: app.shared().phase.subscribe(),
            limits: limits.clone(),
            guard,
        };
        let slots = Arc::new(Semaphore::new(limits.max_connections));
        for listener in self.tcp {
            tokio::spawn(server.clone().accept_tcp(listener, Arc::clone(&slots)));
        }
        if let Some(socket) = self.local {
            tokio::spawn(server.clone().accept_local(socket));
        }
        drop(server);
        shutdown.await;
        app.shared().phase.send_replace(Phase::Draining);
        if timeout(limits.shutdown_timeout, all_gone.recv()).await.is_err() {
            tracing::warn!(
                "cutting the connections that did not end in {:?}",
                limits.shutdown_timeout
            );
            app.shared().phase.send_replace(Phase::Over);
            all_gone.recv().await;
        }
    }
}

#[derive(Clone)]
struct Server {
    router: Router,
    phase: watch::Receiver<Phase>,
    limits: Limits,
    /// Nothing is ever sent: the channel closes when the last task drops its end.
    guard: mpsc::Sender<Infallible>,
}

impl Server {
    async fn accept_tcp(self, listener: TcpListener, slots: Arc<Semaphore>) {
        let mut phase = self.phase.clone();
        loop {
            let accepted = tokio::select! {
                _ = phase.changed() => return,
                accepted = with_slot(&slots, async || listener.accept().await) => accepted,
            };
            let Some((slot, (stream, peer))) = accepted else {
                continue;
            };
            // Answers are small: waiting to fill a packet only adds latency.
            let _ = stream.set_nodelay(true);
            // A reader that stopped reading (or is gone) holds neither the slot nor what is streamed to it.
            let _ = setsockopt(&stream, TcpUserTimeout, &UNREAD_MILLISECONDS);
            tokio::spawn(self.clone().drive(stream, Peer::Tcp(peer.ip()), slot));
        }
    }

    async fn accept_local(self, socket: LocalSocket) {
        let slots = Arc::new(Semaphore::new(LOCAL_CONNECTIONS));
        let mut phase = self.phase.clone();
        loop {
            let accepted = tokio::select! {
                _ = phase.changed() => return,
                accepted = with_slot(&slots, async || socket.listener.accept().await) => accepted,
            };
            let Some((slot, (stream, _))) = accepted else {
                continue;
            };
            match local::user(&stream) {
                Ok(user) => {
                    tokio::spawn(self.clone().drive(stream, Peer::Local(user), slot));
                }
                Err(error) => tracing::warn!("a local connection without credentials was dropped: {error}"),
            }
        }
    }

    async fn drive<S>(self, stream: S, peer: Peer, _slot: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self {
            router,
            mut phase,
            limits,
            guard: _guard,
        } = self;
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            router.clone().oneshot(request.map(Body::new))
        });
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.header_timeout)
                .max_buf_size(MOST_HEAD)
                .serve_connection(TokioIo::new(stream), service)
        );
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
                        tracing::debug!("a connection broke: {error}");
                    }
                    return;
                }
                changed = phase.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// Accepts once there is a slot for the connection; none when accepting failed.
async fn with_slot<T>(
    slots: &Arc<Semaphore>,
    accept: impl AsyncFnOnce() -> io::Result<T>,
) -> Option<(OwnedSemaphorePermit, T)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match accept().await {
        Ok(connection) => Some((slot, connection)),
        Err(error) => {
            tracing::warn!("a connection could not be accepted: {error}");
            sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}
