//! Binding addresses and accepting connections.
//!
//! Owns the bound addresses, which of them speak TLS, that accepting goes on when file descriptors
//! run out, and the end of it all. How many connections whose may be is `connection_limits`', how one is driven
//! `connection`'s. It must not know what is said over them: that is the router's.

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

/// Connections over the local socket, apart from the others: a flood must not keep the admin out.
const LOCAL_CONNECTIONS: usize = 64;
/// After an accept that failed for want of file descriptors, until some are free again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Milliseconds that sent data may stay unacknowledged at the other end (TCP_USER_TIMEOUT, tcp(7)).
const UNREAD_MILLISECONDS: u32 = 60_000;

/// An error of listening on an address.
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
    /// True when another program has the address.
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
    tls: Option<TlsAcceptor>,
}

impl Listener {
    /// Binds everything the configuration names, and logs each address. With `tls`, all over TCP
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

    /// Serves until `shutdown` is over and the connections have ended, at most as long as the
    /// limits allow; returns when every connection's task is gone.
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
                "cutting the connections that did not end in {:?}",
                limits.shutdown_timeout
            );
            app.shared().phase.send_replace(Phase::Over);
            all_gone.recv().await;
        }
    }
}

/// A TCP address that is listened on.
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
                    // A descriptor for who is in the queue, should they all be taken.
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
            // Answers are small: waiting to fill a packet only adds latency.
            let _ = stream.set_nodelay(true);
            // A reader that stopped reading (or is gone) holds neither the slot nor what is streamed to it.
            let _ = setsockopt(&stream, TcpUserTimeout, &UNREAD_MILLISECONDS);
            let origin = Origin::Tcp(remote.ip());
            tokio::spawn(driver.clone().drive_tcp(stream, origin, permit, self.tls.clone()));
        }
    }

    /// The address that connections from `peer` count for. None for those who speak for many:
    /// trusted proxies, and whoever speaks plain HTTP, which is a proxy or on this machine.
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

/// Waits after an accept that failed.
async fn pause_after(error: &io::Error) {
    tracing::warn!("a connection could not be accepted: {error}");
    sleep(ACCEPT_PAUSE).await;
}
