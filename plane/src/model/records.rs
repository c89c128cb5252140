//! The records as they are stored, in JSON.
//!
//! Owns their shape. A new field has a default, so that rows of an older release can be read. Records must not leave
//! the plane as they are: the API has its own types.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use wgctl::address::Endpoint;
use wgctl::api::{PeerCounters, Role};
use wgctl::drift::{Drift, DriftPolicy};
use wgctl::name::{Email, Incarnation, InterfaceName, TokenId, TokenName, UserId};
use wgctl::protocol::v1::Sealed;
use wgctl::{PeerId, PeerName, PublicKey, ServerId, Timestamp};

/// The owner of the server's own addresses.
pub(crate) const SERVER_ITSELF: PeerId = PeerId::from_bytes([0; 16]);

/// A server as registered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ServerRecord {
    pub(crate) id: ServerId,
    pub(crate) endpoint: Endpoint,
    pub(crate) address_pool: Vec<IpNet>,
    #[serde(default)]
    pub(crate) dns: Vec<IpAddr>,
    pub(crate) allowed_ips: Vec<IpNet>,
    #[serde(default)]
    pub(crate) mtu: Option<u16>,
    #[serde(default)]
    pub(crate) persistent_keepalive: Option<u16>,
    pub(crate) interface: InterfaceName,
    pub(crate) listen_port: u16,
    #[serde(default)]
    pub(crate) masquerade: bool,
    #[serde(default)]
    pub(crate) ping_target: Option<Endpoint>,
    #[serde(default)]
    pub(crate) drift_policy: DriftPolicy,
    #[serde(default)]
    pub(crate) public_key: Option<PublicKey>,
    /// True if the host's existing interface is to be adopted when the host is enrolled.
    #[serde(default)]
    pub(crate) adopt: bool,
    /// SHA-256 of the agent's token.
    pub(crate) token_hash: [u8; 32],
    /// The previous token, while it is still valid.
    #[serde(default)]
    pub(crate) old_token: Option<OldToken>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// An agent token that has been replaced. It is valid until the new one is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OldToken {
    /// SHA-256 of the token.
    pub(crate) hash: [u8; 32],
    /// The time at which it expires at the latest.
    pub(crate) until: Timestamp,
}

/// A server's counters, which are updated with every change of its desired state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ledger {
    /// The revision of the desired state.
    pub(crate) revision: u64,
    /// Changes after this revision are stored individually.
    pub(crate) floor: u64,
    /// The last place assigned in the order of creation.
    pub(crate) last_place: u64,
    /// The number of peers.
    pub(crate) peers: u64,
}

/// The number of changes kept for a server; an agent that is further behind gets a snapshot.
const CHANGES_KEPT: u64 = 10_000;

impl Ledger {
    /// Makes the ledger of a new server. `retired` is the last revision of a removed server with the same id: its
    /// revisions must not be used again.
    pub(crate) const fn new(retired: Option<u64>) -> Self {
        let revision = match retired {
            Some(last) => last + 1,
            None => 1,
        };
        Self {
            revision,
            floor: revision,
            last_place: 0,
            peers: 0,
        }
    }

    /// Advances to the next revision. Returns the revisions whose changes are no longer kept.
    pub(crate) fn advance(&mut self) -> RangeInclusive<u64> {
        self.revision += 1;
        let first = self.floor + 1;
        self.floor = self.floor.max(self.revision.saturating_sub(CHANGES_KEPT));
        first..=self.floor
    }
}

/// The last confirmation of a server's agent: the state of its kernel, and changes made there by others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Confirmation {
    pub(crate) applied_revision: Option<u64>,
    pub(crate) interface_failed: Option<String>,
    /// The incarnation of the agent's counters and the last drift message that was counted.
    pub(crate) drift_counted: Option<(Incarnation, u64)>,
    /// Changes made by others that are left as they are.
    pub(crate) drift: Vec<Drift>,
    /// The number of repairs since the server was created.
    pub(crate) drift_repaired: u64,
    /// The number of events without an audit record of their own, because there were too many at once.
    pub(crate) drift_left_out: u64,
}

/// The last measurement of a server's agent. After a crash it may be a few seconds old.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Measurement {
    pub(crate) reported_at: Option<Timestamp>,
    pub(crate) report_interval: Option<u32>,
    pub(crate) ping_ms: Option<f64>,
    pub(crate) peers: u64,
    pub(crate) transfer_rx: u64,
    pub(crate) transfer_tx: u64,
    /// The incarnation of the agent's counters and its last batch that was counted.
    pub(crate) counted: Option<(Incarnation, u64)>,
}

/// A server record with the state stored alongside it.
#[derive(Debug, Clone)]
pub(crate) struct ServerState {
    pub(crate) server: ServerRecord,
    pub(crate) ledger: Ledger,
    pub(crate) confirmation: Confirmation,
    pub(crate) measurement: Measurement,
}

/// A peer record with its counters and its failure.
#[derive(Debug, Clone)]
pub(crate) struct PeerState {
    pub(crate) peer: PeerRecord,
    pub(crate) counters: PeerCounters,
    /// The reason why the kernel refused the peer.
    pub(crate) failed: Option<String>,
}

/// A peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PeerRecord {
    pub(crate) id: PeerId,
    /// Its place in the order of creation.
    pub(crate) place: u64,
    pub(crate) name: PeerName,
    pub(crate) enabled: bool,
    pub(crate) public_key: PublicKey,
    #[serde(default)]
    pub(crate) private_key: Option<Sealed>,
    #[serde(default)]
    pub(crate) preshared_key: Option<Sealed>,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) allowed_ips: Vec<IpNet>,
    #[serde(default)]
    pub(crate) server_allowed_ips: Vec<IpNet>,
    #[serde(default)]
    pub(crate) dns: Vec<IpAddr>,
    #[serde(default)]
    pub(crate) persistent_keepalive: Option<u16>,
    #[serde(default)]
    pub(crate) mtu: Option<u16>,
    /// Seconds between the host's own keepalives to the peer, as found at adoption.
    #[serde(default)]
    pub(crate) host_keepalive: Option<u16>,
    #[serde(default)]
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    /// The revision of its last change that concerns the kernel, and the time when it was recorded.
    pub(crate) revision: u64,
    pub(crate) changed_at: Timestamp,
}

/// A person.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct UserRecord {
    pub(crate) id: UserId,
    pub(crate) email: Email,
    pub(crate) role: Role,
    pub(crate) enabled: bool,
    /// The password's hash, as a PHC string.
    pub(crate) password_hash: String,
    /// The epoch of valid sessions; sessions of another epoch have ended.
    pub(crate) session_epoch: u64,
    pub(crate) created_at: Timestamp,
    #[serde(default)]
    pub(crate) last_login_at: Option<Timestamp>,
    /// Addresses of recent logins.
    #[serde(default)]
    pub(crate) known_addresses: Vec<IpAddr>,
}

/// An API token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TokenRecord {
    pub(crate) id: TokenId,
    pub(crate) name: TokenName,
    pub(crate) role: Role,
    /// The servers that the token covers; none means all.
    #[serde(default)]
    pub(crate) servers: Option<BTreeSet<ServerId>>,
    /// SHA-256 of the token.
    pub(crate) hash: [u8; 32],
    #[serde(default)]
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) created_at: Timestamp,
    /// The creator, in the form in which the audit log names actors.
    pub(crate) created_by: String,
}

impl TokenRecord {
    /// Returns whether the token has not expired.
    pub(crate) fn is_good(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// The stored answer to a request, returned again if the request is repeated.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// SHA-256 of the request's body.
    pub(crate) body: [u8; 32],
    pub(crate) at: Timestamp,
    /// The answer, sealed.
    pub(crate) sealed: Sealed,
}

/// The failed logins of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Penalty {
    pub(crate) failures: u32,
    pub(crate) last: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_keeps_a_fixed_number_of_changes() {
        let mut ledger = Ledger::new(None);
        assert_eq!((ledger.revision, ledger.floor), (1, 1));
        for revision in 2..=CHANGES_KEPT + 1 {
            assert!(ledger.advance().is_empty());
            assert_eq!(ledger.revision, revision);
        }
        assert_eq!(ledger.advance(), 2..=2);
        assert_eq!(ledger.advance(), 3..=3);
        assert_eq!(ledger.revision - ledger.floor, CHANGES_KEPT);
        assert_eq!(Ledger::new(Some(41)).revision, 42);
    }
}
