//! The audit log as the API shows it: records with what changed, signed checkpoints, and the outcome of
//! a verification.
//!
//! Owns the bodies of `/api/audit` and the lines of the export. It must not compute a hash or check a
//! signature: that is `crate::audit`'s.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::audit_values::{AuditKey, Hash, Head, Signature};
use super::optional::given;
use crate::time::Timestamp;

/// One record of the audit log (`GET /api/audit`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct AuditRecord {
    /// Counts up by one from 1.
    pub id: u64,
    /// An email, `agent:<server>`, `token:<name>` or `local:<user>`.
    pub actor: String,
    /// The action: `wg_client_created`, `login_failed`, …
    pub action: String,
    /// On what: `los-angeles/alice-iphone`, a server, a user.
    pub target: String,
    /// The caller's address; empty where there is none (the local socket).
    pub ip: String,
    /// When.
    pub created_at: Timestamp,
    /// Details that action and target do not give.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The request that did it, as its answer's `X-Request-Id` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Uuid>,
    /// The changes, field by field; never a secret.
    #[serde(default, skip_serializing_if = "Changes::is_empty")]
    pub changes: Changes,
    /// SHA-256 over the record before this one and this one (`docs/audit.md` says how).
    #[serde(default)]
    pub hash: Hash,
}

/// The change of a field. A thing that was made has no `before`, one that was removed no `after`.
/// Null is a value: "none".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FieldChange {
    /// The value before.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub before: Option<Value>,
    /// The value after.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub after: Option<Value>,
}

/// The fields that changed, by name; never a secret.
pub type Changes = BTreeMap<String, FieldChange>;

/// The plane's word that the log was so at this record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Checkpoint {
    /// The record.
    pub id: u64,
    /// Its hash.
    pub hash: Hash,
    /// When this was signed.
    pub created_at: Timestamp,
    /// The key of the signature.
    pub public_key: AuditKey,
    /// The signature.
    pub signature: Signature,
}

/// The plane's word for what was removed because it was too old: the chain begins after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Pruned {
    /// The last record that was removed.
    pub id: u64,
    /// Its hash.
    pub hash: Hash,
    /// The number of records that were ever removed.
    pub count: u64,
    /// When this was signed.
    pub created_at: Timestamp,
    /// The key of the signature.
    pub public_key: AuditKey,
    /// The signature.
    pub signature: Signature,
}

/// One line of the export as JSON Lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AuditLine {
    /// The stub of the records that were removed before all that follow.
    Pruned(Pruned),
    /// A record.
    Record(AuditRecord),
    /// The word for all before it.
    Checkpoint(Checkpoint),
}

/// A fault of a log, and its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Fault {
    /// The first record that is not as it was written.
    pub id: u64,
    /// The evidence.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {}: {}", self.id, self.reason)
    }
}

/// The outcome of a verification (`GET /api/audit/verify`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Verification {
    /// True if all is as it was written.
    pub ok: bool,
    /// The number of records that were read.
    pub records: u64,
    /// The first record there is; null where there is none.
    pub first: Option<u64>,
    /// The last record that is as it was written; null where there is none.
    pub last: Option<u64>,
    /// The last record that is as it was written, and its hash. To note it elsewhere is to know, later,
    /// whether the log was cut.
    pub head: Head,
    /// The number of checkpoints that were checked.
    pub checkpoints: u64,
    /// The last record that a checkpoint covers; what comes after it could have been cut or rewritten
    /// by whoever has the file.
    pub signed_until: u64,
    /// The key of that checkpoint's signature.
    pub public_key: Option<AuditKey>,
    /// The records that were removed before the first one.
    pub pruned: Option<Pruned>,
    /// The first fault; null if there is none.
    pub fault: Option<Fault>,
}

/// The key that checkpoints are signed with (`GET /api/audit/key`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct AuditPublicKey {
    /// Its public half.
    pub public_key: AuditKey,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_not_nothing() {
        let change: FieldChange = serde_json::from_str(r#"{"before": null}"#).unwrap();
        assert_eq!((change.before, change.after), (Some(Value::Null), None));
    }
}
