//! The agents' reports: confirmations, measurements, peer counters, and the peers that the kernel refused.

use crate::store::transaction::{LossyWriteAgents, ReadAgents};
use std::collections::BTreeMap;

use wgctl::api::PeerCounters;
use wgctl::protocol::v1::Failure;
use wgctl::{PeerId, ServerId};

use crate::model::records::{Confirmation, Measurement};
use crate::store::error::StoreError;
use crate::store::redb::row_key;
use crate::store::redb::rows::{Rows, WriteRows};
use crate::store::table::Table;

impl<R: Rows> ReadAgents for R {
    fn confirmation(&self, server: &ServerId) -> Result<Confirmation, StoreError> {
        let confirmation = self.json(Table::Confirmations, server.as_str().as_bytes())?;
        Ok(confirmation.unwrap_or_default())
    }

    fn measurement(&self, server: &ServerId) -> Result<Measurement, StoreError> {
        let measurement = self.json(Table::Measurements, server.as_str().as_bytes())?;
        Ok(measurement.unwrap_or_default())
    }

    fn counters(&self, server: &ServerId, peer: &PeerId) -> Result<PeerCounters, StoreError> {
        let counters = self.json(Table::Counters, &row_key::of(server, peer.as_bytes()))?;
        Ok(counters.unwrap_or_default())
    }

    fn failure(&self, server: &ServerId, peer: &PeerId) -> Result<Option<String>, StoreError> {
        self.look(Table::Failures, &row_key::of(server, peer.as_bytes()), |value| {
            Ok(String::from_utf8_lossy(value).into_owned())
        })
    }
}

impl<R: WriteRows> LossyWriteAgents for R {
    fn put_confirmation(&self, server: &ServerId, confirmation: &Confirmation) -> Result<(), StoreError> {
        self.put_json(Table::Confirmations, server.as_str().as_bytes(), confirmation)
    }

    fn put_measurement(&self, server: &ServerId, measurement: &Measurement) -> Result<(), StoreError> {
        self.put_json(Table::Measurements, server.as_str().as_bytes(), measurement)
    }

    fn put_counters(&self, server: &ServerId, peers: &BTreeMap<PeerId, PeerCounters>) -> Result<(), StoreError> {
        for (peer, counters) in peers {
            self.put_json(Table::Counters, &row_key::of(server, peer.as_bytes()), counters)?;
        }
        Ok(())
    }

    fn put_failures(&self, server: &ServerId, failures: &[Failure]) -> Result<(), StoreError> {
        self.erase_all(Table::Failures, row_key::all(server))?;
        for failure in failures {
            let key = row_key::of(server, failure.client.as_bytes());
            self.put(Table::Failures, &key, failure.reason.as_bytes())?;
        }
        Ok(())
    }
}
