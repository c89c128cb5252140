//! The limits on the number of connections.
//!
//! Owns the number of connections and the trust in each of them. A connection is *unauthenticated* (a "stranger" in the
//! code) until its first request with a valid token. Then it is *proven*, until a request without a token or with one
//! that is no longer valid. This module must not read from or write to a connection.
//!
//! The agents' long polls are many long-lived connections. A flood of logins or a slowloris attack consists of many
//! unauthenticated connections. The limits keep such attacks from displacing the agents:
//! - At most half of all connections are unauthenticated. When one more arrives, the oldest unauthenticated one is
//!   dropped. Honest clients finish within milliseconds and are never the oldest for long; slow senders are. So no new
//!   connection waits for unauthenticated ones.
//! - If all connections are in use and none is unauthenticated, new connections wait in the kernel's queue.
//! - Each address (in IPv6, each /64) has a separate limit. When one more connection arrives, the oldest
//!   unauthenticated one from that address is dropped; if there is none, the new connection is refused. The caller of
//!   this module decides which addresses are subject to the limit.
//!
//! A connection is unauthenticated during its TLS handshake.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The minimum time between two warnings in the log.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

/// The limits on all TCP connections.
pub(super) struct ConnectionLimits {
    free: Arc<Semaphore>,
    most_strangers: usize,
    most_per_address: usize,
    connections: Mutex<Connections>,
}

#[derive(Default)]
struct Connections {
    next: u64,
    /// The unauthenticated connections, oldest first.
    strangers: BTreeMap<u64, Connection>,
    proven: HashMap<u64, Connection>,
    addresses: HashMap<IpAddr, usize>,
    warned: Option<Instant>,
}

/// An admitted connection.
struct Connection {
    address: Option<IpAddr>,
    dropped: Arc<Notify>,
}

impl ConnectionLimits {
    pub(super) fn new(most: usize, most_per_address: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(most)),
            most_strangers: (most / 2).max(1),
            most_per_address,
            connections: Mutex::default(),
        })
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a permit for a connection that has just been accepted. If `address` is given, its limit applies
    /// too. Returns `None` if that limit is reached and no connection from the address can be dropped.
    pub(super) async fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Option<ConnectionPermit> {
        let address = address.map(network);
        self.make_way(address)?;
        let slot = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(slot) => slot,
            Err(_) => {
                self.drop_oldest();
                Arc::clone(&self.free).acquire_owned().await.ok()?
            }
        };
        Some(self.enter(address, slot))
    }

    /// Drops connections until one more is within the limits on the address and on unauthenticated connections.
    /// Returns `None` if the address has reached its limit with proven connections only.
    fn make_way(&self, address: Option<IpAddr>) -> Option<()> {
        let mut connections = self.connections();
        if let Some(address) = address
            && connections.addresses.get(&address).copied().unwrap_or(0) >= self.most_per_address
        {
            let oldest = connections
                .strangers
                .iter()
                .find(|(_, stranger)| stranger.address == Some(address))
                .map(|(id, _)| *id);
            connections.warn("one address has reached its connection limit (limits.max_connections_per_address)");
            connections.drop_stranger(oldest?);
        }
        while connections.strangers.len() >= self.most_strangers {
            connections.warn("unauthenticated connections have reached their limit (half of limits.max_connections)");
            let Some((oldest, _)) = connections.strangers.first_key_value() else {
                break;
            };
            let oldest = *oldest;
            connections.drop_stranger(oldest);
        }
        Some(())
    }

    /// Drops the oldest unauthenticated connection, if there is one.
    pub(super) fn drop_oldest(&self) {
        let mut connections = self.connections();
        if let Some(oldest) = connections.strangers.first_key_value().map(|(id, _)| *id) {
            connections.drop_stranger(oldest);
        }
    }

    fn enter(self: &Arc<Self>, address: Option<IpAddr>, slot: OwnedSemaphorePermit) -> ConnectionPermit {
        let mut connections = self.connections();
        let id = connections.next;
        connections.next += 1;
        let dropped = Arc::new(Notify::new());
        let connection = Connection {
            address,
            dropped: Arc::clone(&dropped),
        };
        connections.strangers.insert(id, connection);
        if let Some(address) = address {
            *connections.addresses.entry(address).or_default() += 1;
        }
        ConnectionPermit {
            trust: ConnectionTrust {
                limits: Arc::clone(self),
                id: Arc::new(AtomicU64::new(id)),
                proved: Arc::default(),
            },
            address,
            dropped,
            _slot: slot,
        }
    }
}

impl Connections {
    fn drop_stranger(&mut self, id: u64) {
        if let Some(stranger) = self.strangers.remove(&id) {
            // It no longer counts, although closing it takes a moment, so that a new connection drops only one.
            self.uncount(stranger.address);
            stranger.dropped.notify_one();
        }
    }

    fn uncount(&mut self, address: Option<IpAddr>) {
        if let Some(address) = address
            && let Some(count) = self.addresses.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&address);
            }
        }
    }

    fn warn(&mut self, what: &str) {
        let now = Instant::now();
        if self
            .warned
            .is_none_or(|then| now.duration_since(then) >= BETWEEN_WARNINGS)
        {
            self.warned = Some(now);
            tracing::warn!("{what}: the oldest ones that have sent no valid token are dropped");
        }
    }
}

/// A connection's permit, which is released on drop.
pub(super) struct ConnectionPermit {
    trust: ConnectionTrust,
    address: Option<IpAddr>,
    dropped: Arc<Notify>,
    _slot: OwnedSemaphorePermit,
}

impl ConnectionPermit {
    pub(super) fn trust(&self) -> ConnectionTrust {
        self.trust.clone()
    }

    /// Completes when the connection must be closed.
    pub(super) async fn dropped(&self) {
        self.dropped.notified().await;
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut connections = self.trust.limits.connections();
        let id = self.trust.id();
        // A connection that was dropped by a limit is in neither map and no longer counts.
        if connections.strangers.remove(&id).is_some() || connections.proven.remove(&id).is_some() {
            connections.uncount(self.address);
        }
    }
}

/// The trust in one connection, which its requests can change.
#[derive(Clone)]
pub(crate) struct ConnectionTrust {
    limits: Arc<ConnectionLimits>,
    /// The connection's position in order of age.
    id: Arc<AtomicU64>,
    /// True if the current request has authenticated its caller. In HTTP/1.1, requests follow one another.
    proved: Arc<AtomicBool>,
}

impl ConnectionTrust {
    /// Notes that a request has begun, which may authenticate its caller.
    pub(crate) fn begin_request(&self) {
        self.proved.store(false, Ordering::Relaxed);
    }

    /// Notes that the request has ended. If it did not authenticate its caller, for example because it was a read that
    /// needs no token, the connection is unauthenticated again.
    pub(crate) fn end_request(&self) {
        if !self.proved.load(Ordering::Relaxed) {
            self.disprove();
        }
    }

    /// Notes that the request carries a valid token.
    pub(crate) fn prove(&self) {
        self.proved.store(true, Ordering::Relaxed);
        let mut connections = self.limits.connections();
        if let Some(connection) = connections.strangers.remove(&self.id()) {
            connections.proven.insert(self.id(), connection);
        }
    }

    /// Makes the connection unauthenticated again, as the newest one. A connection that soon carries a token again,
    /// such as a proxy's connection between two callers, is then not the first to be dropped.
    fn disprove(&self) {
        let mut connections = self.limits.connections();
        if let Some(connection) = connections.proven.remove(&self.id()) {
            let id = connections.next;
            connections.next += 1;
            self.id.store(id, Ordering::Relaxed);
            connections.strangers.insert(id, connection);
        }
    }

    /// Returns the connection's id. It changes only while the connections are locked.
    fn id(&self) -> u64 {
        self.id.load(Ordering::Relaxed)
    }
}

/// Returns the network whose connections are counted together: one IPv4 address, or one IPv6 /64, all of whose
/// addresses belong to the same caller.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn admitted(limits: &Arc<ConnectionLimits>, address: &str) -> Option<ConnectionPermit> {
        let address = address.parse().ok();
        limits.admit(address).now_or_never().expect("a permit without waiting")
    }

    fn is_dropped(permit: &ConnectionPermit) -> bool {
        permit.dropped().now_or_never().is_some()
    }

    #[test]
    fn the_oldest_unauthenticated_connection_is_dropped_and_authenticated_ones_stay() {
        let limits = ConnectionLimits::new(6, 6);
        let permits: Vec<ConnectionPermit> = (0..3).filter_map(|_| admitted(&limits, "")).collect();
        permits[0].trust().prove();
        let more: Vec<ConnectionPermit> = (0..2).filter_map(|_| admitted(&limits, "")).collect();
        assert_eq!(more.len(), 2);
        assert_eq!(permits.iter().map(is_dropped).collect::<Vec<_>>(), [false, true, false]);
        assert!(!more.iter().any(is_dropped));
    }

    #[test]
    fn a_connection_is_unauthenticated_again_after_a_request_without_a_valid_token() {
        let limits = ConnectionLimits::new(2, 9);
        let permits: Vec<ConnectionPermit> = (0..2)
            .filter_map(|_| {
                let permit = admitted(&limits, "")?;
                permit.trust().prove();
                Some(permit)
            })
            .collect();
        assert_eq!(permits.len(), 2);
        permits[1].trust().begin_request();
        permits[1].trust().end_request();
        assert!(
            limits.admit(None).now_or_never().is_none(),
            "the slot is free only after the dropped connection has ended"
        );
        assert_eq!(permits.iter().map(is_dropped).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn a_new_connection_waits_until_one_of_the_authenticated_ones_ends() {
        let limits = ConnectionLimits::new(2, 9);
        let mut permits: Vec<ConnectionPermit> = Vec::new();
        for _ in 0..2 {
            let permit = admitted(&limits, "").unwrap();
            permit.trust().prove();
            permits.push(permit);
        }
        let mut waiting = std::pin::pin!(limits.admit(None));
        assert!(waiting.as_mut().now_or_never().is_none());
        permits.pop();
        assert!(waiting.now_or_never().flatten().is_some());
    }

    #[test]
    fn an_address_has_its_own_limit_and_an_ipv6_64_counts_as_one_address() {
        let limits = ConnectionLimits::new(100, 2);
        let first = admitted(&limits, "2001:db8::1").unwrap();
        let second = admitted(&limits, "2001:db8::ffff:2").unwrap();
        let other = admitted(&limits, "2001:db8:0:1::1").unwrap();
        let third = admitted(&limits, "2001:db8::3").unwrap();
        assert!(is_dropped(&first) && !is_dropped(&second) && !is_dropped(&other));
        // The first connection has been dropped although it has not ended yet, so `prove` has no effect on it.
        for permit in [&first, &second, &third] {
            permit.trust().prove();
        }
        drop(first);
        assert!(
            admitted(&limits, "2001:db8::4").is_none(),
            "no connection from the address can be dropped"
        );
        drop(second);
        assert!(admitted(&limits, "2001:db8::4").is_some());
    }

    #[test]
    fn released_permits_leave_nothing_behind() {
        let limits = ConnectionLimits::new(4, 4);
        let permits: Vec<ConnectionPermit> = ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"]
            .iter()
            .filter_map(|address| admitted(&limits, address))
            .collect();
        permits[0].trust().prove();
        limits.drop_oldest();
        drop(permits);
        let connections = limits.connections();
        assert!(connections.strangers.is_empty() && connections.proven.is_empty() && connections.addresses.is_empty());
        assert_eq!(limits.free.available_permits(), 4);
    }
}
