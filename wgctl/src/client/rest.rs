//! The REST endpoints for users and scripts, one method each.
//!
//! Owns the paths and methods. It must not interpret the responses.

use std::time::Duration;

use reqwest::{Method, Response};
use serde::Serialize;

use super::error::Error;
use super::plane_client::PlaneClient;
use crate::api::{
    AgentToken, ApiToken, ApiTokenCreated, AuditPublicKey, AuditRecord, Head, Health, HistoryPoint, KeyRotated, Login,
    NewApiToken, NewPeer, NewServer, NewUser, PasswordChange, Peer, PeerPatch, Report, Server, ServerCreated,
    ServerPatch, Session, Status, TokenRotation, User, UserPatch, Verification,
};
use crate::name::{PeerId, ServerId, TokenId, UserId};
use crate::time::Timestamp;

/// The time limit for the verification of the whole audit log.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(85);

/// A history query. The plane has a default for each absent field.
#[derive(Debug, Clone, Default, Serialize)]
pub struct HistoryQuery {
    /// Only points for this server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_id: Option<ServerId>,
    /// Only points from this time on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Only points before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The number of seconds per point; at least 60.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
}

/// An audit log query. The plane has a default for each absent field.
#[derive(Debug, Clone, Default, Serialize)]
pub struct AuditQuery {
    /// The maximum number of records, from 1 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The number of newest records to skip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Only records of actions by this actor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Only records of this action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Only records of actions on this target or below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Only records from this time on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Only records before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// The two formats of an exported audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditFormat {
    /// Rows for spreadsheets.
    Csv,
    /// Records and checkpoints, one JSON object per line.
    JsonLines,
}

impl PlaneClient {
    /// `GET /healthz`.
    pub async fn health(&self) -> Result<Health, Error> {
        self.call(Method::GET, &["healthz"])?.read().await
    }

    /// `GET /readyz`.
    pub async fn ready(&self) -> Result<Health, Error> {
        self.call(Method::GET, &["readyz"])?.read().await
    }

    /// `POST /api/login`.
    pub async fn login(&self, login: &Login) -> Result<Session, Error> {
        self.call(Method::POST, &["/api/login"])?.json(login).read().await
    }

    /// `POST /api/logout`: invalidates all session tokens of the caller.
    pub async fn logout(&self) -> Result<(), Error> {
        self.call(Method::POST, &["/api/logout"])?.done().await
    }

    /// `POST /api/password`: changes the caller's own password.
    pub async fn change_password(&self, change: &PasswordChange) -> Result<(), Error> {
        self.call(Method::POST, &["/api/password"])?.json(change).done().await
    }

    /// `GET /api/statuses`.
    pub async fn statuses(&self) -> Result<Vec<Status>, Error> {
        self.call(Method::GET, &["/api/statuses"])?.read().await
    }

    /// `GET /api/history`.
    pub async fn history(&self, query: &HistoryQuery) -> Result<Vec<HistoryPoint>, Error> {
        self.call(Method::GET, &["/api/history"])?.query(query).read().await
    }

    /// `GET /api/audit`, newest first.
    pub async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, Error> {
        self.call(Method::GET, &["/api/audit"])?.query(query).read().await
    }

    /// `GET /api/audit/export`: CSV or JSON Lines, to be read in chunks (`Response::chunk`).
    pub async fn audit_export(&self, format: AuditFormat) -> Result<Response, Error> {
        let call = self.call(Method::GET, &["/api/audit/export"])?;
        match format {
            AuditFormat::Csv => call,
            AuditFormat::JsonLines => call.query(&[("format", "jsonl")]),
        }
        .send()
        .await
    }

    /// `GET /api/audit/verify`. `head` is a record that is known in advance.
    pub async fn audit_verify(&self, head: Option<Head>) -> Result<Verification, Error> {
        let call = self.call(Method::GET, &["/api/audit/verify"])?.patience(VERIFY_TIMEOUT);
        call.query(&head.map(|head| [("head", head)])).read().await
    }

    /// `GET /api/audit/key`: the key that verifies the log's checkpoints.
    pub async fn audit_key(&self) -> Result<AuditPublicKey, Error> {
        self.call(Method::GET, &["/api/audit/key"])?.read().await
    }

    /// `POST /api/report`, authenticated with an agent's token.
    pub async fn report(&self, report: &Report) -> Result<(), Error> {
        self.call(Method::POST, &["/api/report"])?.json(report).done().await
    }

    /// `GET /api/servers`.
    pub async fn servers(&self) -> Result<Vec<Server>, Error> {
        self.call(Method::GET, &["/api/servers"])?.read().await
    }

    /// `GET /api/servers/{id}`.
    pub async fn server(&self, id: &ServerId) -> Result<Server, Error> {
        self.call(Method::GET, &["/api/servers", id.as_str()])?.read().await
    }

    /// `POST /api/servers`.
    pub async fn create_server(&self, new: &NewServer, idempotency_key: Option<&str>) -> Result<ServerCreated, Error> {
        self.call(Method::POST, &["/api/servers"])?
            .json(new)
            .idempotency_key(idempotency_key)
            .read()
            .await
    }

    /// `PATCH /api/servers/{id}`.
    pub async fn update_server(&self, id: &ServerId, patch: &ServerPatch) -> Result<Server, Error> {
        self.call(Method::PATCH, &["/api/servers", id.as_str()])?
            .json(patch)
            .read()
            .await
    }

    /// `DELETE /api/servers/{id}`: removes the server and all its peers.
    pub async fn remove_server(&self, id: &ServerId) -> Result<(), Error> {
        self.call(Method::DELETE, &["/api/servers", id.as_str()])?.done().await
    }

    /// `POST /api/servers/{id}/token`: creates a new agent token.
    pub async fn rotate_agent_token(&self, id: &ServerId, rotation: TokenRotation) -> Result<AgentToken, Error> {
        self.call(Method::POST, &["/api/servers", id.as_str(), "token"])?
            .json(&rotation)
            .read()
            .await
    }

    /// `GET /api/tokens`.
    pub async fn api_tokens(&self) -> Result<Vec<ApiToken>, Error> {
        self.call(Method::GET, &["/api/tokens"])?.read().await
    }

    /// `POST /api/tokens`.
    pub async fn create_api_token(
        &self,
        new: &NewApiToken,
        idempotency_key: Option<&str>,
    ) -> Result<ApiTokenCreated, Error> {
        let call = self.call(Method::POST, &["/api/tokens"])?;
        call.json(new).idempotency_key(idempotency_key).read().await
    }

    /// `DELETE /api/tokens/{id}`: revokes the token.
    pub async fn remove_api_token(&self, id: TokenId) -> Result<(), Error> {
        self.call(Method::DELETE, &["/api/tokens", &id.to_string()])?
            .done()
            .await
    }

    /// `POST /api/keys/rotate`: new sessions are signed with a new key; existing sessions remain valid.
    pub async fn rotate_signing_key(&self) -> Result<KeyRotated, Error> {
        self.call(Method::POST, &["/api/keys/rotate"])?.read().await
    }

    /// `GET /api/wg-clients/{serverID}`: all peers of a server.
    pub async fn peers(&self, server: &ServerId) -> Result<Vec<Peer>, Error> {
        self.call(Method::GET, &["/api/wg-clients", server.as_str()])?
            .read()
            .await
    }

    /// `GET /api/wg-clients/{serverID}?q=…`: the peers whose name contains `text` (case-insensitive), or
    /// whose id, address or key equals it. Returns the first `limit` of them, or all if `limit` is `None`.
    pub async fn peers_like(&self, server: &ServerId, text: &str, limit: Option<u32>) -> Result<Vec<Peer>, Error> {
        let call = self.call(Method::GET, &["/api/wg-clients", server.as_str()])?;
        let limit = limit.map(|limit| ("limit", limit.to_string()));
        call.query(&[("q", text)]).query(limit.as_slice()).read().await
    }

    /// `GET /api/wg-clients/{serverID}/{clientID}`.
    pub async fn peer(&self, server: &ServerId, peer: PeerId) -> Result<Peer, Error> {
        self.call(Method::GET, &["/api/wg-clients", server.as_str(), &peer.to_string()])?
            .read()
            .await
    }

    /// `POST /api/wg-clients/{serverID}`.
    pub async fn create_peer(
        &self,
        server: &ServerId,
        new: &NewPeer,
        idempotency_key: Option<&str>,
    ) -> Result<Peer, Error> {
        let call = self.call(Method::POST, &["/api/wg-clients", server.as_str()])?;
        call.json(new).idempotency_key(idempotency_key).read().await
    }

    /// `POST /api/wg-clients/{serverID}/{clientID}/enable` or `…/disable`.
    pub async fn set_peer_enabled(&self, server: &ServerId, peer: PeerId, enabled: bool) -> Result<Peer, Error> {
        let action = if enabled { "enable" } else { "disable" };
        self.call(
            Method::POST,
            &["/api/wg-clients", server.as_str(), &peer.to_string(), action],
        )?
        .read()
        .await
    }

    /// `PATCH /api/wg-clients/{serverID}/{clientID}`.
    pub async fn update_peer(&self, server: &ServerId, peer: PeerId, patch: &PeerPatch) -> Result<Peer, Error> {
        let call = self.call(Method::PATCH, &["/api/wg-clients", server.as_str(), &peer.to_string()])?;
        call.json(patch).read().await
    }

    /// `DELETE /api/wg-clients/{serverID}/{clientID}`.
    pub async fn remove_peer(&self, server: &ServerId, peer: PeerId) -> Result<(), Error> {
        self.call(Method::DELETE, &["/api/wg-clients", server.as_str(), &peer.to_string()])?
            .done()
            .await
    }

    /// `GET /api/wg-clients/{serverID}/{clientID}/configuration`: the wg-quick text, which is secret.
    pub async fn peer_configuration(&self, server: &ServerId, peer: PeerId) -> Result<String, Error> {
        let segments = ["/api/wg-clients", server.as_str(), &peer.to_string(), "configuration"];
        self.call(Method::GET, &segments)?.text().await
    }

    /// `GET /api/wg-clients/{serverID}/{clientID}/qrcode`: the QR code as SVG, which is secret.
    pub async fn peer_qrcode(&self, server: &ServerId, peer: PeerId) -> Result<String, Error> {
        let segments = ["/api/wg-clients", server.as_str(), &peer.to_string(), "qrcode"];
        self.call(Method::GET, &segments)?.text().await
    }

    /// `GET /api/users`.
    pub async fn users(&self) -> Result<Vec<User>, Error> {
        self.call(Method::GET, &["/api/users"])?.read().await
    }

    /// `POST /api/users`.
    pub async fn create_user(&self, new: &NewUser, idempotency_key: Option<&str>) -> Result<User, Error> {
        self.call(Method::POST, &["/api/users"])?
            .json(new)
            .idempotency_key(idempotency_key)
            .read()
            .await
    }

    /// `PATCH /api/users/{id}`.
    pub async fn update_user(&self, id: UserId, patch: &UserPatch) -> Result<User, Error> {
        self.call(Method::PATCH, &["/api/users", &id.to_string()])?
            .json(patch)
            .read()
            .await
    }

    /// `DELETE /api/users/{id}`.
    pub async fn remove_user(&self, id: UserId) -> Result<(), Error> {
        self.call(Method::DELETE, &["/api/users", &id.to_string()])?
            .done()
            .await
    }
}
