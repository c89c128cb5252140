//! Peers, in the order they were made, and the indexes that keep names and keys unique.

use crate::store::transaction::{ReadPeers, WritePeers};
use std::ops::ControlFlow;

use wgctl::{PeerId, PeerName, PublicKey, ServerId};

use crate::model::records::PeerRecord;
use crate::store::error::StoreError;
use crate::store::redb::row_key;
use crate::store::redb::rows::{Order, Rows, WriteRows, parse};
use crate::store::redb::schema;
use crate::store::redb::schema::fixed;

impl<R: Rows> ReadPeers for R {
    fn peer(&self, server: &ServerId, id: &PeerId) -> Result<Option<PeerRecord>, StoreError> {
        match self.bytes(schema::PEER_PLACES, &row_key::of(server, id.as_bytes()))? {
            Some(place) => self.json(schema::PEERS, &row_key::of(server, &place)),
            None => Ok(None),
        }
    }

    fn peer_named(&self, server: &ServerId, name: &PeerName) -> Result<Option<PeerId>, StoreError> {
        let key = row_key::of(server, name.as_str().as_bytes());
        self.look(schema::PEER_NAMES, &key, |id| Ok(PeerId::from_bytes(fixed(id)?)))
    }

    fn peer_with_key(&self, server: &ServerId, key: &PublicKey) -> Result<Option<PeerId>, StoreError> {
        let key = row_key::of(server, key.as_bytes());
        self.look(schema::PEER_KEYS, &key, |id| Ok(PeerId::from_bytes(fixed(id)?)))
    }

    fn each_peer(
        &self,
        server: &ServerId,
        after: u64,
        see: &mut dyn FnMut(PeerRecord) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<(), StoreError> {
        let span = row_key::all(server).after(row_key::numbered(server, after));
        self.visit(schema::PEERS, span, Order::Up, |_, value| {
            see(parse(schema::PEERS, value)?)
        })
    }
}

impl<R: WriteRows> WritePeers for R {
    fn put_peer(&self, server: &ServerId, peer: &PeerRecord, old: Option<&PeerRecord>) -> Result<(), StoreError> {
        if let Some(old) = old.filter(|old| old.name != peer.name) {
            self.erase(schema::PEER_NAMES, &row_key::of(server, old.name.as_str().as_bytes()))?;
        }
        let id = peer.id.as_bytes();
        self.put(
            schema::PEER_NAMES,
            &row_key::of(server, peer.name.as_str().as_bytes()),
            id,
        )?;
        self.put(schema::PEER_KEYS, &row_key::of(server, peer.public_key.as_bytes()), id)?;
        self.put(schema::PEER_PLACES, &row_key::of(server, id), &peer.place.to_be_bytes())?;
        self.put_json(schema::PEERS, &row_key::numbered(server, peer.place), peer)
    }

    fn erase_peer(&self, server: &ServerId, peer: &PeerRecord) -> Result<(), StoreError> {
        let id = row_key::of(server, peer.id.as_bytes());
        self.erase(schema::PEER_NAMES, &row_key::of(server, peer.name.as_str().as_bytes()))?;
        self.erase(schema::PEER_KEYS, &row_key::of(server, peer.public_key.as_bytes()))?;
        self.erase(schema::PEERS, &row_key::numbered(server, peer.place))?;
        for table in [schema::PEER_PLACES, schema::COUNTERS, schema::FAILURES] {
            self.erase(table, &id)?;
        }
        Ok(())
    }
}
