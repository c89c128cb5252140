//! Servers, their ledgers and their agents' tokens.

use wgctl::ServerId;

use crate::model::records::{Ledger, ServerRecord};
use crate::store::error::StoreError;
use crate::store::redb::row_key;
use crate::store::redb::rows::{ChangeRows, Order, Rows, Span, parse};
use crate::store::redb::schema;
use crate::store::redb::schema::fixed;

/// Reading servers.
pub(crate) trait ReadServers {
    async fn server(&self, id: &ServerId) -> Result<Option<ServerRecord>, StoreError>;
    /// All servers, by id.
    async fn servers(&self) -> Result<Vec<ServerRecord>, StoreError>;
    async fn ledger(&self, id: &ServerId) -> Result<Option<Ledger>, StoreError>;
    async fn server_by_token(&self, hash: &[u8; 32]) -> Result<Option<ServerId>, StoreError>;
    /// The last revision of a server of this id that was removed.
    async fn retired_revision(&self, id: &ServerId) -> Result<Option<u64>, StoreError>;
}

/// Writing servers.
pub(crate) trait ChangeServers: ReadServers {
    /// Writes a server; `dead_token` is the hash that is good no more.
    async fn put_server(&self, server: &ServerRecord, dead_token: Option<&[u8; 32]>) -> Result<(), StoreError>;
    async fn put_ledger(&self, id: &ServerId, ledger: &Ledger) -> Result<(), StoreError>;
    /// Removes a server and everything that is its own but its history.
    async fn erase_server(&self, server: &ServerRecord, revision: u64) -> Result<(), StoreError>;
}

fn id_key(id: &ServerId) -> &[u8] {
    id.as_str().as_bytes()
}

impl<R: Rows> ReadServers for R {
    async fn server(&self, id: &ServerId) -> Result<Option<ServerRecord>, StoreError> {
        self.json(schema::SERVERS, id_key(id))
    }

    async fn servers(&self) -> Result<Vec<ServerRecord>, StoreError> {
        let rows = self.some(schema::SERVERS, Span::under(&[]), Order::Up, usize::MAX)?;
        rows.iter().map(|(_, value)| parse(schema::SERVERS, value)).collect()
    }

    async fn ledger(&self, id: &ServerId) -> Result<Option<Ledger>, StoreError> {
        self.json(schema::LEDGERS, id_key(id))
    }

    async fn server_by_token(&self, hash: &[u8; 32]) -> Result<Option<ServerId>, StoreError> {
        self.look(schema::AGENT_TOKENS, hash, |value| {
            std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| StoreError::Corrupt("agent_tokens: not a server id".to_owned()))
        })
    }

    async fn retired_revision(&self, id: &ServerId) -> Result<Option<u64>, StoreError> {
        self.look(schema::RETIRED, id_key(id), |value| {
            Ok(u64::from_be_bytes(fixed(value)?))
        })
    }
}

impl<R: ChangeRows> ChangeServers for R {
    async fn put_server(&self, server: &ServerRecord, dead_token: Option<&[u8; 32]>) -> Result<(), StoreError> {
        if let Some(dead) = dead_token {
            self.erase(schema::AGENT_TOKENS, dead)?;
        }
        self.put(schema::AGENT_TOKENS, &server.token_hash, id_key(&server.id))?;
        self.put_json(schema::SERVERS, id_key(&server.id), server)
    }

    async fn put_ledger(&self, id: &ServerId, ledger: &Ledger) -> Result<(), StoreError> {
        self.put_json(schema::LEDGERS, id_key(id), ledger)
    }

    async fn erase_server(&self, server: &ServerRecord, revision: u64) -> Result<(), StoreError> {
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
