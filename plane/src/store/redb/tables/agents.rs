//! What agents told: their state, their peers' counters, and which peers their kernels refused.

use crate::store::transaction::{LossyWriteAgents, ReadAgents};
use std::collections::BTreeMap;

use wgctl::api::PeerCounters;
use wgctl::protocol::v1::Failure;
use wgctl::{PeerId, ServerId};

use crate::model::records::AgentState;
use crate::store::error::StoreError;
use crate::store::redb::row_key;
use crate::store::redb::rows::{Rows, WriteRows};
use crate::store::redb::schema;

impl<R: Rows> ReadAgents for R {
    fn agent_state(&self, server: &ServerId) -> Result<AgentState, StoreError> {
        let state = self.json(schema::AGENT_STATES, server.as_str().as_bytes())?;
        Ok(state.unwrap_or_default())
    }

    fn counters(&self, server: &ServerId, peer: &PeerId) -> Result<PeerCounters, StoreError> {
        let counters = self.json(schema::COUNTERS, &row_key::of(server, peer.as_bytes()))?;
        Ok(counters.unwrap_or_default())
    }

    fn failure(&self, server: &ServerId, peer: &PeerId) -> Result<Option<String>, StoreError> {
        self.look(schema::FAILURES, &row_key::of(server, peer.as_bytes()), |value| {
            Ok(String::from_utf8_lossy(value).into_owned())
        })
    }
}

impl<R: WriteRows> LossyWriteAgents for R {
    fn put_agent_state(&self, server: &ServerId, state: &AgentState) -> Result<(), StoreError> {
        self.put_json(schema::AGENT_STATES, server.as_str().as_bytes(), state)
    }

    fn put_counters(&self, server: &ServerId, peers: &BTreeMap<PeerId, PeerCounters>) -> Result<(), StoreError> {
        for (peer, counters) in peers {
            self.put_json(schema::COUNTERS, &row_key::of(server, peer.as_bytes()), counters)?;
        }
        Ok(())
    }

    fn put_failures(&self, server: &ServerId, failures: &[Failure]) -> Result<(), StoreError> {
        self.erase_all(schema::FAILURES, row_key::all(server))?;
        for failure in failures {
            let key = row_key::of(server, failure.client.as_bytes());
            self.put(schema::FAILURES, &key, failure.reason.as_bytes())?;
        }
        Ok(())
    }
}
