//! Peers, in the order they were made, and the indexes that keep names and keys unique.

use crate::store::transaction::{ReadPeers, WritePeers};
use std::ops::ControlFlow;

use wgctl::{PeerId, PeerName, PublicKey, ServerId};

use crate::model::records::PeerRecord;
use crate::store::error::StoreError;
use crate::store::redb::row_key;
use crate::store::redb::rows::{Order, Rows, WriteRows, parse};
use crate::store::redb::schema::fixed;
use crate::store::table::Table;

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
