//! Drift: what others changed on an interface that is ours.
//!
//! Owns the words that agent, plane and people use for it. Pure data; who sees it is the agent,
//! who keeps it the plane.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::key::PublicKey;
use crate::name::PeerId;
use crate::time::Timestamp;

/// The policy for drift.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DriftPolicy {
    /// Repair it with the smallest difference.
    #[default]
    Enforce,
    /// Leave it as it is and show it, until the record of what drifted is changed.
    Report,
}

impl DriftPolicy {
    /// As it is written.
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
            other => Err(format!("{other:?} is no drift policy: give \"enforce\" or \"report\"")),
        }
    }
}

/// The kind of thing that drifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DriftKind {
    /// A recorded peer was taken off the interface.
    PeerRemoved,
    /// A peer that is not recorded was put on it.
    PeerAdded,
    /// A peer's preshared key or persistent keepalive was changed.
    PeerChanged,
    /// A peer's allowed IPs were changed, or taken by another peer.
    AllowedIpsChanged,
    /// The interface got another private key.
    PrivateKeyChanged,
    /// The interface listens on another port.
    ListenPortChanged,
    /// The link was deleted.
    LinkDeleted,
    /// The link was set down.
    LinkDown,
    /// The link's MTU was changed.
    MtuChanged,
    /// One of the interface's addresses was removed.
    AddressRemoved,
    /// An address that is not recorded was added.
    AddressAdded,
    /// A route to a network behind a peer was removed.
    RouteRemoved,
    /// Our masquerading was removed or changed.
    MasqueradeChanged,
}

impl DriftKind {
    /// All of them.
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

    /// As it is written.
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

/// Something that drifted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Drift {
    /// The kind.
    pub kind: DriftKind,
    /// The recorded peer it is about; absent for the interface, and for many at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<PeerId>,
    /// The key of a peer that is not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PublicKey>,
    /// The number of this kind that it stands for; 1 where `peer` or `public_key` says which.
    #[serde(default = "one")]
    pub count: u64,
    /// The finding, for people; never a secret. At most 300 characters.
    pub detail: String,
    /// When the agent first saw it, by its clock.
    pub seen_at: Timestamp,
}

const fn one() -> u64 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_and_policy_is_written_as_json_writes_it() {
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
