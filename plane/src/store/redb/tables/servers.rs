//! Servers, their ledgers and their agents' tokens.

use crate::store::transaction::{ReadServers, WriteServers};
use wgctl::ServerId;

use crate::model::records::{Ledger, ServerRecord};
use crate::store::error::StoreError;
use crate::store::redb::row_key;
use crate::store::redb::rows::{Order, Rows, Span, WriteRows, parse};
use crate::store::redb::schema;
use crate::store::redb::schema::fixed;

fn id_key(id: &ServerId) -> &[u8] {
    id.as_str().as_bytes()
}

impl<R: Rows> ReadServers for R {
    fn server(&self, id: &ServerId) -> Result<Option<ServerRecord>, StoreError> {
        self.json(schema::SERVERS, id_key(id))
    }

    fn servers(&self) -> Result<Vec<ServerRecord>, StoreError> {
        let rows = self.some(schema::SERVERS, Span::under(&[]), Order::Up, usize::MAX)?;
        rows.iter().map(|(_, value)| parse(schema::SERVERS, value)).collect()
    }

    fn ledger(&self, id: &ServerId) -> Result<Option<Ledger>, StoreError> {
        self.json(schema::LEDGERS, id_key(id))
    }

    fn server_by_token(&self, hash: &[u8; 32]) -> Result<Option<ServerId>, StoreError> {
        self.look(schema::AGENT_TOKENS, hash, |value| {
            std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| StoreError::Corrupt("agent_tokens: not a server id".to_owned()))
        })
    }

    fn retired_revision(&self, id: &ServerId) -> Result<Option<u64>, StoreError> {
        self.look(schema::RETIRED, id_key(id), |value| {
            Ok(u64::from_be_bytes(fixed(value)?))
        })
    }
}

impl<R: WriteRows> WriteServers for R {
    fn put_server(&self, server: &ServerRecord, dead_token: Option<&[u8; 32]>) -> Result<(), StoreError> {
        if let Some(dead) = dead_token {
            self.erase(schema::AGENT_TOKENS, dead)?;
        }
        self.put(schema::AGENT_TOKENS, &server.token_hash, id_key(&server.id))?;
        self.put_json(schema::SERVERS, id_key(&server.id), server)
    }

    fn put_ledger(&self, id: &ServerId, ledger: &Ledger) -> Result<(), StoreError> {
        self.put_json(schema::LEDGERS, id_key(id), ledger)
    }

    fn erase_server(&self, server: &ServerRecord, revision: u64) -> Result<(), StoreError> {
        let id = &server.id;
        self.put(schema::RETIRED, id_key(id), &revision.to_be_bytes())?;
        self.erase(schema::AGENT_TOKENS, &server.token_hash)?;
        if let Some(old) = &server.old_token {
            self.erase(schema::AGENT_TOKENS, &old.hash)?;
        }
        for table in [schema::SERVERS, schema::LEDGERS, schema::AGENT_STATES] {
            self.erase(table, id_key(id))?;
        }
        for table in [
            schema::PEERS,
            schema::PEER_PLACES,
            schema::PEER_NAMES,
            schema::PEER_KEYS,
            schema::SPANS,
            schema::FREE_RUNS,
            schema::CHANGES,
            schema::COUNTERS,
            schema::FAILURES,
            schema::PREKEYS,
            schema::SPENT_PREKEYS,
        ] {
            self.erase_all(table, row_key::all(id))?;
        }
        Ok(())
    }
}
