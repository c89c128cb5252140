//! Binding addresses and accepting connections.
//!
//! Owns the bound addresses, their use of TLS, the accept loops, which continue even if file descriptors run out, and
//! the shutdown. It must not limit connections (`connection_limits`), drive them (`connection`) or interpret requests,
//! which belongs to the router.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::TcpUserTimeout;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::connection::Driver;
use super::connection_limits::ConnectionLimits;
use super::local_socket;
use super::local_socket::LocalSocket;
use super::origin::Origin;
use crate::config::Config;
use crate::http::app::{App, Phase};
use crate::http::router;

/// The maximum number of connections over the local socket. They are counted separately, so that a flood over TCP
/// cannot keep the admin out.
const LOCAL_CONNECTIONS: usize = 64;
/// The pause after a failed accept, for example because file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The time for which sent data may stay unacknowledged, in milliseconds (TCP_USER_TIMEOUT, tcp(7)).
const UNREAD_MILLISECONDS: u32 = 60_000;

/// An error while listening on an address or the local socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A TCP address cannot be bound.
    #[error("cannot listen on {address}: {source}; another program may be using it (listen in the configuration)")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// The error from the operating system.
        source: io::Error,
    },
    /// The local socket cannot be bound.
    #[error("cannot listen on the socket {path}: {source} (socket in the configuration)")]
    Socket {
        /// The path of the socket.
        path: PathBuf,
        /// The error from the operating system.
        source: io::Error,
    },
}

impl BindError {
    /// Returns true if another program is using the address.
    pub(crate) fn is_in_use(&self) -> bool {
        let (Self::Tcp { source, .. } | Self::Socket { source, .. }) = self;
        source.kind() == io::ErrorKind::AddrInUse
    }
}

/// The bound sockets, before any connection is accepted.
pub(crate) struct Listener {
    tcp: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    local: Option<LocalSocket>,
    tls: Option<TlsAcceptor>,
}

impl Listener {
    /// Binds all addresses in the configuration, and logs each of them. With `tls`, every TCP connection
    /// begins with a handshake.
    pub(crate) async fn bind(config: &Config, tls: Option<TlsAcceptor>) -> Result<Self, BindError> {
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
        let scheme = if tls.is_some() { "https" } else { "http" };
        for address in &addresses {
            tracing::info!("listening on {scheme}://{address}");
        }
        if let Some(path) = &config.socket {
            tracing::info!("listening on unix:{}", path.display());
        }
        Ok(Self {
            tcp,
            addresses,
            local,
            tls,
        })
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until `shutdown` completes, then lets the connections end within the time that the limits
    /// allow. Returns when the task of every connection has ended.
    pub(crate) async fn serve(self, app: App, shutdown: impl Future<Output = ()>) {
        let shared = app.shared();
        let limits = shared.limits.clone();
        let (guard, mut all_gone) = mpsc::channel::<Infallible>(1);
        let driver = Driver {
            router: router(app.clone()),
            phase: shared.phase.subscribe(),
            limits: limits.clone(),
            is_secure: shared.is_secure,
            metrics: shared.metrics.clone(),
            guard,
        };
        let connection_limits = ConnectionLimits::new(limits.max_connections, limits.max_connections_per_address);
        for listener in self.tcp {
            let acceptor = TcpAcceptor {
                listener,
                limits: Arc::clone(&connection_limits),
                tls: self.tls.clone(),
                trusted_proxies: shared.trusted_proxies.clone(),
            };
            tokio::spawn(acceptor.accept(driver.clone()));
        }
        if let Some(socket) = self.local {
            tokio::spawn(accept_local(socket, driver.clone()));
        }
        drop(driver);
        shutdown.await;
        app.shared().phase.send_replace(Phase::Draining);
        if timeout(limits.shutdown_timeout, all_gone.recv()).await.is_err() {
            tracing::warn!(
                "closing the connections that did not end within {:?}",
                limits.shutdown_timeout
            );
            app.shared().phase.send_replace(Phase::Over);
            all_gone.recv().await;
        }
    }
}

/// The accept loop for one TCP address.
struct TcpAcceptor {
    listener: TcpListener,
    limits: Arc<ConnectionLimits>,
    tls: Option<TlsAcceptor>,
    trusted_proxies: Vec<IpNet>,
}

impl TcpAcceptor {
    async fn accept(self, driver: Driver) {
        let mut phase = driver.phase.clone();
        loop {
            let accepted = tokio::select! {
                _ = phase.changed() => return,
                accepted = self.listener.accept() => accepted,
            };
            let (stream, remote) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // If file descriptors have run out, this frees one for the next connection in the queue.
                    self.limits.drop_oldest();
                    pause_after(&error).await;
                    continue;
                }
            };
            let admitted = tokio::select! {
                _ = phase.changed() => return,
                admitted = self.limits.admit(self.counted(remote.ip())) => admitted,
            };
            let Some(permit) = admitted else {
                continue;
            };
            // Responses are small: waiting to fill a packet only adds latency.
            let _ = stream.set_nodelay(true);
            // A client that has stopped reading or has vanished must not hold on to its slot or to a streamed response.
            let _ = setsockopt(&stream, TcpUserTimeout, &UNREAD_MILLISECONDS);
            let origin = Origin::Tcp(remote.ip());
            tokio::spawn(driver.clone().drive_tcp(stream, origin, permit, self.tls.clone()));
        }
    }

    /// Returns the address whose limit applies to connections from `peer`, or `None` if `peer` may stand for many
    /// callers: a trusted proxy, or a peer that uses plain HTTP, which is a proxy or on this machine.
    fn counted(&self, peer: IpAddr) -> Option<IpAddr> {
        let peer = peer.to_canonical();
        let speaks_for_many = self.tls.is_none() || self.trusted_proxies.iter().any(|net| net.contains(&peer));
        (!speaks_for_many).then_some(peer)
    }
}

async fn accept_local(socket: LocalSocket, driver: Driver) {
    let slots = Arc::new(Semaphore::new(LOCAL_CONNECTIONS));
    let mut phase = driver.phase.clone();
    loop {
        let accepted = tokio::select! {
            _ = phase.changed() => return,
            accepted = async {
                let slot = Arc::clone(&slots).acquire_owned().await;
                (slot, socket.listener.accept().await)
            } => accepted,
        };
        let (slot, stream) = match accepted {
            (slot, Ok((stream, _))) => (slot, stream),
            (_, Err(error)) => {
                pause_after(&error).await;
                continue;
            }
        };
        match local_socket::user(&stream) {
            Ok(user) => {
                let driver = driver.clone();
                tokio::spawn(async move {
                    let _slot = slot;
                    driver.drive(stream, Origin::Local(user), None).await;
                });
            }
            Err(error) => tracing::warn!("a local connection without credentials was dropped: {error}"),
        }
    }
}

/// Waits after a failed accept.
async fn pause_after(error: &io::Error) {
    tracing::warn!("a connection could not be accepted: {error}");
    sleep(ACCEPT_PAUSE).await;
}
