//! Who may hold how many connections.
//!
//! Owns the count of connections and whose they are: a *stranger's* until its first request with a
//! valid token, then *proven*, until one without (or with one that is not valid any more). It must not read or
//! write a connection.
//!
//! Agents' long polls are many connections that live long; a flood of logins or a slowloris is
//! many connections of strangers. So that the one never costs the other:
//! - at most half of all connections are strangers'. When one more comes, the oldest stranger's is
//!   dropped: who is honest is served within milliseconds and is not the oldest for long, who sends
//!   slowly is. A newcomer therefore never waits for strangers;
//! - when all connections are taken and none is a stranger's, newcomers wait in the kernel's queue;
//! - of one address (an IPv6 /64) there are only so many. One more drops that address's oldest
//!   stranger, and is itself refused where there is none. The caller says for whom this counts.
//!
//! A TLS handshake counts as a connection of a stranger's.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The log says at most this often that strangers are crowding.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

/// All connections over TCP.
pub(super) struct Slots {
    free: Arc<Semaphore>,
    most_strangers: usize,
    most_per_address: usize,
    room: Mutex<Room>,
}

#[derive(Default)]
struct Room {
    next: u64,
    /// By age.
    strangers: BTreeMap<u64, Connection>,
    proven: HashMap<u64, Connection>,
    addresses: HashMap<IpAddr, usize>,
    warned: Option<Instant>,
}

/// A connection that was let in.
struct Connection {
    address: Option<IpAddr>,
    dropped: Arc<Notify>,
}

impl Slots {
    pub(super) fn new(most: usize, most_per_address: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(most)),
            most_strangers: (most / 2).max(1),
            most_per_address,
            room: Mutex::default(),
        })
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection that was just accepted, as soon as there is one. `address` counts
    /// where it is given; none is returned when it has too many already.
    pub(super) async fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Place> {
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

    /// Keeps to the limits of the address and of strangers.
    fn make_way(&self, address: Option<IpAddr>) -> Option<()> {
        let mut room = self.room();
        if let Some(address) = address
            && room.addresses.get(&address).copied().unwrap_or(0) >= self.most_per_address
        {
            let oldest = room
                .strangers
                .iter()
                .find(|(_, stranger)| stranger.address == Some(address))
                .map(|(id, _)| *id);
            room.warn("one address has as many connections as it may (limits.max_connections_per_address)");
            room.drop_stranger(oldest?);
        }
        while room.strangers.len() >= self.most_strangers {
            room.warn("strangers have as many connections as they may (half of limits.max_connections)");
            let Some((oldest, _)) = room.strangers.first_key_value() else {
                break;
            };
            let oldest = *oldest;
            room.drop_stranger(oldest);
        }
        Some(())
    }

    /// Drops the oldest stranger's connection, if any.
    pub(super) fn drop_oldest(&self) {
        let mut room = self.room();
        if let Some(oldest) = room.strangers.first_key_value().map(|(id, _)| *id) {
            room.drop_stranger(oldest);
        }
    }

    fn enter(self: &Arc<Self>, address: Option<IpAddr>, slot: OwnedSemaphorePermit) -> Place {
        let mut room = self.room();
        let id = room.next;
        room.next += 1;
        let dropped = Arc::new(Notify::new());
        let connection = Connection {
            address,
            dropped: Arc::clone(&dropped),
        };
        room.strangers.insert(id, connection);
        if let Some(address) = address {
            *room.addresses.entry(address).or_default() += 1;
        }
        Place {
            standing: Standing {
                slots: Arc::clone(self),
                id: Arc::new(AtomicU64::new(id)),
                proved: Arc::default(),
            },
            address,
            dropped,
            _slot: slot,
        }
    }
}

impl Room {
    fn drop_stranger(&mut self, id: u64) {
        if let Some(stranger) = self.strangers.remove(&id) {
            // It counts no longer, though its end takes a moment: one newcomer costs one stranger.
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
            tracing::warn!("{what}: the oldest ones that sent no valid token are dropped");
        }
    }
}

/// A connection's place; given back when dropped.
pub(super) struct Place {
    standing: Standing,
    address: Option<IpAddr>,
    dropped: Arc<Notify>,
    _slot: OwnedSemaphorePermit,
}

impl Place {
    pub(super) fn standing(&self) -> Standing {
        self.standing.clone()
    }

    /// Ends when the connection must go.
    pub(super) async fn dropped(&self) {
        self.dropped.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut room = self.standing.slots.room();
        let id = self.standing.id();
        // One that was dropped is in neither, and counted no longer.
        if room.strangers.remove(&id).is_some() || room.proven.remove(&id).is_some() {
            room.uncount(self.address);
        }
    }
}

/// Whether a connection is a stranger's, for the request that can change it.
#[derive(Clone)]
pub(crate) struct Standing {
    slots: Arc<Slots>,
    /// Its place in the order of age.
    id: Arc<AtomicU64>,
    /// Whether the request that is under way has; requests of HTTP/1.1 come one after another.
    proved: Arc<AtomicBool>,
}

impl Standing {
    /// A request begins, which may prove who it is from.
    pub(crate) fn begin_request(&self) {
        self.proved.store(false, Ordering::Relaxed);
    }

    /// It ends: a request that proved nothing, like one of what anybody may read, keeps no connection.
    pub(crate) fn end_request(&self) {
        if !self.proved.load(Ordering::Relaxed) {
            self.disprove();
        }
    }

    /// The request carried a valid token.
    pub(crate) fn prove(&self) {
        self.proved.store(true, Ordering::Relaxed);
        let mut room = self.slots.room();
        if let Some(connection) = room.strangers.remove(&self.id()) {
            room.proven.insert(self.id(), connection);
        }
    }

    /// The connection is a stranger's again, and the newest one's: who shows a token soon, like a proxy between
    /// two callers, is not the first to make way.
    fn disprove(&self) {
        let mut room = self.slots.room();
        if let Some(connection) = room.proven.remove(&self.id()) {
            let id = room.next;
            room.next += 1;
            self.id.store(id, Ordering::Relaxed);
            room.strangers.insert(id, connection);
        }
    }

    /// Changes only under the room's lock.
    fn id(&self) -> u64 {
        self.id.load(Ordering::Relaxed)
    }
}

/// Whoever has one address of an IPv6 /64 has them all.
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

    fn admitted(slots: &Arc<Slots>, address: &str) -> Option<Place> {
        let address = address.parse().ok();
        slots.admit(address).now_or_never().expect("nobody has to wait")
    }

    fn is_dropped(place: &Place) -> bool {
        place.dropped().now_or_never().is_some()
    }

    #[test]
    fn the_oldest_stranger_makes_way_and_the_proven_stay() {
        let slots = Slots::new(6, 6);
        let places: Vec<Place> = (0..3).filter_map(|_| admitted(&slots, "")).collect();
        places[0].standing().prove();
        let more: Vec<Place> = (0..2).filter_map(|_| admitted(&slots, "")).collect();
        assert_eq!(more.len(), 2);
        assert_eq!(places.iter().map(is_dropped).collect::<Vec<_>>(), [false, true, false]);
        assert!(!more.iter().any(is_dropped));
    }

    #[test]
    fn whose_token_is_over_is_a_stranger_again() {
        let slots = Slots::new(2, 9);
        let places: Vec<Place> = (0..2)
            .filter_map(|_| {
                let place = admitted(&slots, "")?;
                place.standing().prove();
                Some(place)
            })
            .collect();
        assert_eq!(places.len(), 2);
        places[1].standing().begin_request();
        places[1].standing().end_request();
        assert!(
            slots.admit(None).now_or_never().is_none(),
            "its place is free when it has gone"
        );
        assert_eq!(places.iter().map(is_dropped).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn who_comes_when_all_are_proven_waits_until_one_goes() {
        let slots = Slots::new(2, 9);
        let mut places: Vec<Place> = Vec::new();
        for _ in 0..2 {
            let place = admitted(&slots, "").unwrap();
            place.standing().prove();
            places.push(place);
        }
        let mut waiting = std::pin::pin!(slots.admit(None));
        assert!(waiting.as_mut().now_or_never().is_none());
        places.pop();
        assert!(waiting.now_or_never().flatten().is_some());
    }

    #[test]
    fn an_address_has_its_share_and_a_network_of_ipv6_is_one() {
        let slots = Slots::new(100, 2);
        let first = admitted(&slots, "2001:db8::1").unwrap();
        let second = admitted(&slots, "2001:db8::ffff:2").unwrap();
        let other = admitted(&slots, "2001:db8:0:1::1").unwrap();
        let third = admitted(&slots, "2001:db8::3").unwrap();
        assert!(is_dropped(&first) && !is_dropped(&second) && !is_dropped(&other));
        // Too late for the first, which may still be on its way out.
        for place in [&first, &second, &third] {
            place.standing().prove();
        }
        drop(first);
        assert!(admitted(&slots, "2001:db8::4").is_none(), "none of theirs can make way");
        drop(second);
        assert!(admitted(&slots, "2001:db8::4").is_some());
    }

    #[test]
    fn what_is_given_back_leaves_nothing_behind() {
        let slots = Slots::new(4, 4);
        let places: Vec<Place> = ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"]
            .iter()
            .filter_map(|address| admitted(&slots, address))
            .collect();
        places[0].standing().prove();
        slots.drop_oldest();
        drop(places);
        let room = slots.room();
        assert!(room.strangers.is_empty() && room.proven.is_empty() && room.addresses.is_empty());
        assert_eq!(slots.free.available_permits(), 4);
    }
}
