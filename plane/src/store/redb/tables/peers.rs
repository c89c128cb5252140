//! Peers, in order of creation, and the indexes that keep names and keys unique.

use std::collections::HashMap;

use crate::store::transaction::{ReadAgents as _, ReadPeers, ReadServers as _, WritePeers};
use std::ops::ControlFlow;
use wgctl::api::PeerCounters;

use wgctl::{PeerId, PeerName, PublicKey, ServerId};

use crate::model::records::{PeerRecord, PeerState};
use crate::store::error::StoreError;
use crate::store::redb::row_key;
use crate::store::redb::rows::{Order, Rows, WriteRows, parse};
use crate::store::redb::schema::fixed;
use crate::store::table::Table;

/// The number of rows that can be scanned at about the cost of one lookup.
const ROWS_PER_LOOKUP: u64 = 8;

/// A peer's counters, and the kernel's reason for refusing the peer.
type State = (PeerCounters, Option<String>);

/// Returns the states of the given peers.
fn states(
    rows: &impl Rows,
    server: &ServerId,
    peers: impl Iterator<Item = PeerId>,
) -> Result<HashMap<PeerId, State>, StoreError> {
    let mut states: HashMap<PeerId, State> = peers.map(|peer| (peer, State::default())).collect();
    let all = rows.ledger(server)?.map_or(0, |ledger| ledger.peers);
    let named = u64::try_from(states.len()).unwrap_or(u64::MAX);
    if named.saturating_mul(ROWS_PER_LOOKUP) < all {
        for (id, (counters, failed)) in &mut states {
            *counters = rows.counters(server, id)?;
            *failed = rows.failure(server, id)?;
        }
        return Ok(states);
    }
    rows.visit(Table::Counters, row_key::all(server), Order::Up, |key, value| {
        if let Some((counters, _)) = states.get_mut(&PeerId::from_bytes(row_key::tail(key))) {
            *counters = parse(Table::Counters, value)?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    rows.visit(Table::Failures, row_key::all(server), Order::Up, |key, value| {
        if let Some((_, failed)) = states.get_mut(&PeerId::from_bytes(row_key::tail(key))) {
            *failed = Some(String::from_utf8_lossy(value).into_owned());
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(states)
}

impl<R: Rows> ReadPeers for R {
    fn peer(&self, server: &ServerId, id: &PeerId) -> Result<Option<PeerRecord>, StoreError> {
        match self.bytes(Table::PeerPlaces, &row_key::of(server, id.as_bytes()))? {
            Some(place) => self.json(Table::Peers, &row_key::of(server, &place)),
            None => Ok(None),
        }
    }

    fn peer_named(&self, server: &ServerId, name: &PeerName) -> Result<Option<PeerId>, StoreError> {
        let key = row_key::of(server, name.as_str().as_bytes());
        self.look(Table::PeerNames, &key, |id| Ok(PeerId::from_bytes(fixed(id)?)))
    }

    fn peer_with_key(&self, server: &ServerId, key: &PublicKey) -> Result<Option<PeerId>, StoreError> {
        let key = row_key::of(server, key.as_bytes());
        self.look(Table::PeerKeys, &key, |id| Ok(PeerId::from_bytes(fixed(id)?)))
    }

    fn peers_with_counters(&self, server: &ServerId, peers: Vec<PeerRecord>) -> Result<Vec<PeerState>, StoreError> {
        let mut states = states(self, server, peers.iter().map(|peer| peer.id))?;
        let with_state = peers.into_iter().map(|peer| {
            let (counters, failed) = states.remove(&peer.id).unwrap_or_default();
            PeerState { peer, counters, failed }
        });
        Ok(with_state.collect())
    }

    fn counters_of(&self, server: &ServerId, peers: &[PeerId]) -> Result<Vec<PeerCounters>, StoreError> {
        let mut states = states(self, server, peers.iter().copied())?;
        let counters = peers.iter().map(|peer| states.remove(peer).unwrap_or_default().0);
        Ok(counters.collect())
    }

    fn each_peer(
        &self,
        server: &ServerId,
        after: u64,
        see: &mut dyn FnMut(PeerRecord) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<(), StoreError> {
        let span = row_key::all(server).after(row_key::numbered(server, after));
        self.visit(Table::Peers, span, Order::Up, |_, value| {
            see(parse(Table::Peers, value)?)
        })
    }
}

impl<R: WriteRows> WritePeers for R {
    fn put_peer(&self, server: &ServerId, peer: &PeerRecord, old: Option<&PeerRecord>) -> Result<(), StoreError> {
        if let Some(old) = old.filter(|old| old.name != peer.name) {
            self.erase(Table::PeerNames, &row_key::of(server, old.name.as_str().as_bytes()))?;
        }
        let id = peer.id.as_bytes();
        self.put(
            Table::PeerNames,
            &row_key::of(server, peer.name.as_str().as_bytes()),
            id,
        )?;
        self.put(Table::PeerKeys, &row_key::of(server, peer.public_key.as_bytes()), id)?;
        self.put(Table::PeerPlaces, &row_key::of(server, id), &peer.place.to_be_bytes())?;
        self.put_json(Table::Peers, &row_key::numbered(server, peer.place), peer)
    }

    fn erase_peer(&self, server: &ServerId, peer: &PeerRecord) -> Result<(), StoreError> {
        let id = row_key::of(server, peer.id.as_bytes());
        self.erase(Table::PeerNames, &row_key::of(server, peer.name.as_str().as_bytes()))?;
        self.erase(Table::PeerKeys, &row_key::of(server, peer.public_key.as_bytes()))?;
        self.erase(Table::Peers, &row_key::numbered(server, peer.place))?;
        for table in [Table::PeerPlaces, Table::Counters, Table::Failures] {
            self.erase(table, &id)?;
        }
        Ok(())
    }
}
