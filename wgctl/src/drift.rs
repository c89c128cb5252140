//! Drift: changes to a managed interface that were made by something other than its agent.
//!
//! Owns the vocabulary for drift that the agent, the plane and users share. It must not do more than hold data: the
//! agent detects drift, and the plane stores it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::key::PublicKey;
use crate::name::PeerId;
use crate::time::Timestamp;

/// The policy for handling drift.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DriftPolicy {
    /// Drift is repaired with the smallest possible change.
    #[default]
    Enforce,
    /// Drift is reported but left in place until the record of the drifted item is changed.
    Report,
}

impl DriftPolicy {
    /// Returns the policy's name in JSON and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Report => "report",
        }
    }
}

impl fmt::Display for DriftPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for DriftPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "enforce" => Ok(Self::Enforce),
            "report" => Ok(Self::Report),
            other => Err(format!(
                "{other:?} is not a drift policy: use \"enforce\" or \"report\""
            )),
        }
    }
}

/// The kinds of drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DriftKind {
    /// A recorded peer has been removed from the interface.
    PeerRemoved,
    /// A peer that is not recorded has been added to the interface.
    PeerAdded,
    /// A peer's preshared key or persistent keepalive has been changed.
    PeerChanged,
    /// A peer's allowed IPs have been changed, or another peer has taken them.
    AllowedIpsChanged,
    /// The interface's private key has been changed.
    PrivateKeyChanged,
    /// The interface's listen port has been changed.
    ListenPortChanged,
    /// The link has been deleted.
    LinkDeleted,
    /// The link has been set down.
    LinkDown,
    /// The link's MTU has been changed.
    MtuChanged,
    /// One of the interface's addresses has been removed.
    AddressRemoved,
    /// An address that is not recorded has been added.
    AddressAdded,
    /// A route to a network behind a peer has been removed.
    RouteRemoved,
    /// Sentrazone's masquerading rules have been removed or changed.
    MasqueradeChanged,
}

impl DriftKind {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        Self::PeerRemoved,
        Self::PeerAdded,
        Self::PeerChanged,
        Self::AllowedIpsChanged,
        Self::PrivateKeyChanged,
        Self::ListenPortChanged,
        Self::LinkDeleted,
        Self::LinkDown,
        Self::MtuChanged,
        Self::AddressRemoved,
        Self::AddressAdded,
        Self::RouteRemoved,
        Self::MasqueradeChanged,
    ];

    /// Returns the kind's name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PeerRemoved => "peer_removed",
            Self::PeerAdded => "peer_added",
            Self::PeerChanged => "peer_changed",
            Self::AllowedIpsChanged => "allowed_ips_changed",
            Self::PrivateKeyChanged => "private_key_changed",
            Self::ListenPortChanged => "listen_port_changed",
            Self::LinkDeleted => "link_deleted",
            Self::LinkDown => "link_down",
            Self::MtuChanged => "mtu_changed",
            Self::AddressRemoved => "address_removed",
            Self::AddressAdded => "address_added",
            Self::RouteRemoved => "route_removed",
            Self::MasqueradeChanged => "masquerade_changed",
        }
    }
}

impl fmt::Display for DriftKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A single instance of drift.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Drift {
    /// The kind of drift.
    pub kind: DriftKind,
    /// The recorded peer that has drifted. Absent if the drift concerns the interface or several peers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<PeerId>,
    /// The public key of a peer that is not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PublicKey>,
    /// The number of changes of this kind that this entry represents; 1 if `peer` or `public_key` identifies the
    /// peer.
    #[serde(default = "one")]
    pub count: u64,
    /// A human-readable description of at most 300 characters. It never contains a secret.
    pub detail: String,
    /// The time at which the agent first saw the drift, according to the agent's clock.
    pub seen_at: Timestamp,
}

const fn one() -> u64 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_kinds_and_policies_match_their_json() {
        for kind in DriftKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        for policy in [DriftPolicy::Enforce, DriftPolicy::Report] {
            assert_eq!(serde_json::to_value(policy).unwrap(), policy.as_str());
            assert_eq!(policy.as_str().parse(), Ok(policy));
        }
        assert!("repair".parse::<DriftPolicy>().unwrap_err().contains("enforce"));
    }
}
