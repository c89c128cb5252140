//! Servers: registered, changed, removed, and their agents' tokens.

use wgctl::ServerId;
use wgctl::api::{AgentToken, NewServer, Server, ServerCreated, ServerPatch};

use super::{Caller, Fleet, Idempotency, Refusal};

impl Fleet {
    /// All servers, by id.
    pub async fn servers(&self) -> Result<Vec<Server>, Refusal> {
        todo!()
    }
    /// One server.
    pub async fn server(&self, id: &ServerId) -> Result<Server, Refusal> {
        todo!()
    }
    /// Registers a server and makes its agent's token.
    pub async fn create_server(&self, caller: &Caller, new: NewServer, once: Option<Idempotency>) -> Result<ServerCreated, Refusal> {
        todo!()
    }
    /// Changes a server.
    pub async fn update_server(&self, caller: &Caller, id: &ServerId, patch: ServerPatch) -> Result<Server, Refusal> {
        todo!()
    }
    /// Removes a server with its peers, prekeys and history.
    pub async fn remove_server(&self, caller: &Caller, id: &ServerId) -> Result<(), Refusal> {
        todo!()
    }
    /// A new agent token; the old one is dead.
    pub async fn rotate_agent_token(&self, caller: &Caller, id: &ServerId) -> Result<AgentToken, Refusal> {
        todo!()
    }
}
