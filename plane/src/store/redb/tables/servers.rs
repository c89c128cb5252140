//! Servers, their ledgers and their agents' tokens.

use std::collections::HashMap;
use std::ops::ControlFlow;

use crate::store::transaction::{ReadServers, WriteServers};
use serde::de::DeserializeOwned;
use wgctl::ServerId;

use crate::model::records::{Confirmation, Ledger, Measurement, ServerRecord, ServerState};
use crate::store::error::StoreError;
use crate::store::redb::row_key;
use crate::store::redb::rows::{Order, Rows, Span, WriteRows, parse};
use crate::store::redb::schema::fixed;
use crate::store::table::Table;

fn id_key(id: &ServerId) -> &[u8] {
    id.as_str().as_bytes()
}

/// Returns all rows of a table, keyed by server id.
fn by_id<T: DeserializeOwned>(rows: &impl Rows, table: Table) -> Result<HashMap<Vec<u8>, T>, StoreError> {
    let mut found = HashMap::new();
    rows.visit(table, Span::under(&[]), Order::Up, |id, value| {
        found.insert(id.to_vec(), parse(table, value)?);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

impl<R: Rows> ReadServers for R {
    fn server(&self, id: &ServerId) -> Result<Option<ServerRecord>, StoreError> {
        self.json(Table::Servers, id_key(id))
    }

    fn servers(&self) -> Result<Vec<ServerRecord>, StoreError> {
        let rows = self.some(Table::Servers, Span::under(&[]), Order::Up, usize::MAX)?;
        rows.iter().map(|(_, value)| parse(Table::Servers, value)).collect()
    }

    fn servers_with_state(&self) -> Result<Vec<ServerState>, StoreError> {
        let mut ledgers = by_id::<Ledger>(self, Table::Ledgers)?;
        let mut confirmations = by_id::<Confirmation>(self, Table::Confirmations)?;
        let mut measurements = by_id::<Measurement>(self, Table::Measurements)?;
        let states = self.servers()?.into_iter().map(|server| {
            let id = id_key(&server.id);
            let ledger = ledgers.remove(id);
            let ledger = ledger.ok_or_else(|| StoreError::Corrupt(format!("ledgers: no row for {}", server.id)))?;
            Ok(ServerState {
                ledger,
                confirmation: confirmations.remove(id).unwrap_or_default(),
                measurement: measurements.remove(id).unwrap_or_default(),
                server,
            })
        });
        states.collect()
    }

    fn ledger(&self, id: &ServerId) -> Result<Option<Ledger>, StoreError> {
        self.json(Table::Ledgers, id_key(id))
    }

    fn server_by_token(&self, hash: &[u8; 32]) -> Result<Option<ServerId>, StoreError> {
        self.look(Table::AgentTokens, hash, |value| {
            std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| StoreError::Corrupt("agent_tokens: not a server id".to_owned()))
        })
    }

    fn retired_revision(&self, id: &ServerId) -> Result<Option<u64>, StoreError> {
        self.look(Table::RetiredServers, id_key(id), |value| {
            Ok(u64::from_be_bytes(fixed(value)?))
        })
    }
}

impl<R: WriteRows> WriteServers for R {
    fn put_server(&self, server: &ServerRecord, dead_token: Option<&[u8; 32]>) -> Result<(), StoreError> {
        if let Some(dead) = dead_token {
            self.erase(Table::AgentTokens, dead)?;
        }
        self.put(Table::AgentTokens, &server.token_hash, id_key(&server.id))?;
        self.put_json(Table::Servers, id_key(&server.id), server)
    }

    fn put_ledger(&self, id: &ServerId, ledger: &Ledger) -> Result<(), StoreError> {
        self.put_json(Table::Ledgers, id_key(id), ledger)
    }

    fn erase_server(&self, server: &ServerRecord, revision: u64) -> Result<(), StoreError> {
        let id = &server.id;
        self.put(Table::RetiredServers, id_key(id), &revision.to_be_bytes())?;
        self.erase(Table::AgentTokens, &server.token_hash)?;
        if let Some(old) = &server.old_token {
            self.erase(Table::AgentTokens, &old.hash)?;
        }
        for table in [
            Table::Servers,
            Table::Ledgers,
            Table::Confirmations,
            Table::Measurements,
        ] {
            self.erase(table, id_key(id))?;
        }
        for table in [
            Table::Peers,
            Table::PeerPlaces,
            Table::PeerNames,
            Table::PeerKeys,
            Table::Spans,
            Table::FreeRuns,
            Table::Changes,
            Table::Counters,
            Table::Failures,
            Table::Prekeys,
            Table::SpentPrekeys,
        ] {
            self.erase_all(table, row_key::all(id))?;
        }
        Ok(())
    }
}
