//! Clients (peers) of a server: listed, made, changed, removed, and their configurations.

use wgctl::api::{Client, ClientPatch, NewClient};
use wgctl::{PeerId, PeerName, ServerId};
use zeroize::Zeroizing;

use super::{Caller, Fleet, Idempotency, Refusal};

/// Which clients to list.
#[derive(Debug, Clone, Default)]
pub struct ClientsQuery {
    /// Only those whose name contains this, whatever the case; or with exactly this address, key or id.
    pub q: Option<String>,
    /// At most this many; all when absent.
    pub limit: Option<usize>,
    /// Only those made after this one: the `next` of the page before.
    pub after: Option<PeerId>,
}

/// Clients in the order they were made.
#[derive(Debug, Clone)]
pub struct ClientPage {
    /// The clients.
    pub clients: Vec<Client>,
    /// What to give as `after` for the next page; none when this was the last.
    pub next: Option<PeerId>,
}

/// What a configuration is wanted for; the audit log tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The file.
    Configuration,
    /// The QR code: only of a client whose private key the agent holds.
    Qrcode,
}

/// A client's wg-quick configuration. Secret.
pub struct ConfigurationText {
    /// The client's name, for the file name.
    pub name: PeerName,
    /// The text.
    pub text: Zeroizing<String>,
}

impl Fleet {
    /// The clients of a server, in the order they were made.
    pub async fn clients(&self, server: &ServerId, query: ClientsQuery) -> Result<ClientPage, Refusal> {
        todo!()
    }
    /// One client.
    pub async fn client(&self, server: &ServerId, id: &PeerId) -> Result<Client, Refusal> {
        todo!()
    }
    /// Makes a client. Waits for the agent's confirmation as long as the settings allow.
    pub async fn create_client(&self, caller: &Caller, server: &ServerId, new: NewClient, once: Option<Idempotency>) -> Result<Client, Refusal> {
        todo!()
    }
    /// Enables or disables a client; waits likewise. Idempotent.
    pub async fn enable_client(&self, caller: &Caller, server: &ServerId, id: &PeerId, enabled: bool) -> Result<Client, Refusal> {
        todo!()
    }
    /// Changes a client; waits likewise.
    pub async fn update_client(&self, caller: &Caller, server: &ServerId, id: &PeerId, patch: ClientPatch) -> Result<Client, Refusal> {
        todo!()
    }
    /// Removes a client; waits likewise. Says whether the agent confirmed it in time.
    pub async fn remove_client(&self, caller: &Caller, server: &ServerId, id: &PeerId) -> Result<bool, Refusal> {
        todo!()
    }
    /// A client's configuration, as its server's agent renders it.
    pub async fn configuration(&self, caller: &Caller, server: &ServerId, id: &PeerId, view: View) -> Result<ConfigurationText, Refusal> {
        todo!()
    }
}
