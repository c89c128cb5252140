//! The records, in the form in which they are stored (JSON).
//!
//! Owns the shape of the records. It must not define the types of the API: records never leave the plane in this form.
//! A new field must have a default, so that rows written by an older release can be read.

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

/// The id that is recorded as the owner of the server's own addresses.
pub(crate) const SERVER_ITSELF: PeerId = PeerId::from_bytes([0; 16]);

/// A registered server.
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

/// A server's counters, which are updated with every change to its desired state.
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

/// The number of changes that are kept for a server. An agent that is further behind gets a snapshot.
const CHANGES_KEPT: u64 = 10_000;

impl Ledger {
    /// Creates the ledger of a new server. `retired` is the last revision of a removed server with the same id, whose
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

/// The last confirmation from a server's agent: the state of the host's kernel, and the external changes to it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Confirmation {
    pub(crate) applied_revision: Option<u64>,
    pub(crate) interface_failed: Option<String>,
    /// The incarnation of the agent's counters, and the number of the last drift message that was counted.
    pub(crate) drift_counted: Option<(Incarnation, u64)>,
    /// The external changes that are left in place.
    pub(crate) drift: Vec<Drift>,
    /// The number of repairs since the server was created.
    pub(crate) drift_repaired: u64,
    /// The number of drift events that are not in the audit log yet, because too many occurred at once.
    pub(crate) drift_left_out: u64,
}

/// The last measurement from a server's agent. After a crash, it may be a few seconds out of date.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Measurement {
    pub(crate) reported_at: Option<Timestamp>,
    pub(crate) report_interval: Option<u32>,
    pub(crate) ping_ms: Option<f64>,
    pub(crate) peers: u64,
    pub(crate) transfer_rx: u64,
    pub(crate) transfer_tx: u64,
    /// The incarnation of the agent's counters, and the number of the last batch that was counted.
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
    /// The peer's place in the order of creation.
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
    /// The interval between the host's own keepalives to the peer, in seconds, as found at adoption.
    #[serde(default)]
    pub(crate) host_keepalive: Option<u16>,
    #[serde(default)]
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    /// The revision of the last change to the peer that concerns the kernel. `changed_at` is the time at which that
    /// change was recorded.
    pub(crate) revision: u64,
    pub(crate) changed_at: Timestamp,
}

/// A person's account.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct UserRecord {
    pub(crate) id: UserId,
    pub(crate) email: Email,
    pub(crate) role: Role,
    pub(crate) enabled: bool,
    /// The password's hash, as a PHC string.
    pub(crate) password_hash: String,
    /// The epoch of the valid sessions. Sessions of any other epoch are no longer valid.
    pub(crate) session_epoch: u64,
    pub(crate) created_at: Timestamp,
    #[serde(default)]
    pub(crate) last_login_at: Option<Timestamp>,
    /// The addresses that recent logins came from, newest first. IPv6 addresses are reduced to their /64.
    #[serde(default)]
    pub(crate) known_addresses: Vec<IpAddr>,
}

/// An API token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TokenRecord {
    pub(crate) id: TokenId,
    pub(crate) name: TokenName,
    pub(crate) role: Role,
    /// The servers that the token covers; `None` means all servers.
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

/// The stored response to a request, returned again if the request is repeated.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The keyed hash (HMAC-SHA-256) of the request's body.
    pub(crate) body: [u8; 32],
    pub(crate) at: Timestamp,
    /// The sealed response.
    pub(crate) sealed: Sealed,
}

/// The failed logins to an account.
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
