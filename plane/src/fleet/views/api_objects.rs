//! Conversion of stored records to API objects.
//!
//! Owns the conversion, which adds the values that agents have reported. It must not reveal a secret.

use crate::model::pool::Pool;
use wgctl::Timestamp;
use wgctl::api::{Peer, Server, Status, User};

use crate::fleet::Refusal;
use crate::model::records::{Confirmation, Ledger, PeerState, ServerRecord, ServerState, UserRecord};

/// The report interval, in seconds, that is assumed if the agent does not send one.
const REPORT_INTERVAL: u32 = 15;

pub(crate) fn pools(server: &ServerRecord) -> Vec<Pool> {
    server.address_pool.iter().copied().map(Pool::new).collect()
}

pub(crate) fn server(record: &ServerRecord, ledger: &Ledger, state: &Confirmation) -> Server {
    Server {
        id: record.id.clone(),
        endpoint: record.endpoint.clone(),
        address_pool: record.address_pool.clone(),
        addresses: pools(record).iter().map(Pool::server_address).collect(),
        dns: record.dns.clone(),
        allowed_ips: record.allowed_ips.clone(),
        mtu: record.mtu,
        persistent_keepalive: record.persistent_keepalive,
        interface: record.interface.clone(),
        listen_port: record.listen_port,
        masquerade: record.masquerade,
        ping_target: record.ping_target.clone(),
        adopt: record.adopt,
        public_key: record.public_key,
        peers: ledger.peers,
        created_at: record.created_at,
        updated_at: record.updated_at,
        desired_revision: ledger.revision,
        applied_revision: state.applied_revision,
        failed: state.interface_failed.clone(),
        drift_policy: record.drift_policy,
        drift: state.drift.clone(),
        drift_repaired: state.drift_repaired,
    }
}

pub(super) fn status(of: &ServerState, now: Timestamp) -> Status {
    let ServerState {
        server,
        ledger,
        confirmation,
        measurement,
    } = of;
    let interval = u64::from(measurement.report_interval.unwrap_or(REPORT_INTERVAL));
    let heard = |at: Timestamp| now.since(at).as_secs() < interval * 3;
    Status {
        server_id: server.id.clone(),
        online: measurement.reported_at.is_some_and(heard),
        ping_ms: measurement.ping_ms,
        peers: measurement.peers,
        transfer_rx: measurement.transfer_rx,
        transfer_tx: measurement.transfer_tx,
        reported_at: measurement.reported_at,
        desired_revision: ledger.revision,
        applied_revision: confirmation.applied_revision,
        failed: confirmation.interface_failed.clone(),
        drift: confirmation.drift.clone(),
        drift_repaired: confirmation.drift_repaired,
    }
}

/// Returns a peer with the values that its server's agent has reported.
pub(crate) fn peer(of: PeerState, confirmation: &Confirmation, now: Timestamp) -> Result<Peer, Refusal> {
    let PeerState { peer, counters, failed } = of;
    let address = *peer
        .addresses
        .first()
        .ok_or_else(|| Refusal::Internal(format!("the client {} has no address", peer.id)))?;
    let confirmed = confirmation
        .applied_revision
        .is_some_and(|applied| applied >= peer.revision);
    let applied = confirmed && failed.is_none();
    // A peer cannot be applied if its interface has failed.
    let failed = failed.or_else(|| confirmation.interface_failed.clone().filter(|_| !confirmed));
    Ok(Peer {
        id: peer.id,
        name: peer.name,
        enabled: peer.enabled,
        address,
        addresses: peer.addresses,
        public_key: peer.public_key,
        private_key_held: peer.private_key.is_some(),
        preshared_key: peer.preshared_key.is_some(),
        latest_handshake_at: counters.latest_handshake_at,
        transfer_rx: counters.rx,
        transfer_tx: counters.tx,
        allowed_ips: peer.allowed_ips,
        server_allowed_ips: peer.server_allowed_ips,
        dns: peer.dns,
        persistent_keepalive: peer.persistent_keepalive,
        mtu: peer.mtu,
        expires_at: peer.expires_at,
        expired: peer.expires_at.is_some_and(|end| end <= now),
        created_at: peer.created_at,
        updated_at: peer.updated_at,
        applied,
        pending_since: (!applied).then_some(peer.changed_at),
        failed,
    })
}

pub(crate) fn user(record: UserRecord) -> User {
    User {
        id: record.id,
        email: record.email,
        role: record.role,
        enabled: record.enabled,
        created_at: record.created_at,
        last_login_at: record.last_login_at,
    }
}
