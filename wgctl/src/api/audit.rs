//! The audit log in the API: records with their changes, signed checkpoints, and the outcome of a verification.
//!
//! Owns the bodies of `/api/audit` and the lines of the export. It must not compute a hash or verify a
//! signature: that belongs to `crate::audit`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::audit_values::{AuditKey, Hash, Head, Signature};
use super::optional::given;
use crate::time::Timestamp;

/// An audit log record (`GET /api/audit`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct AuditRecord {
    /// The number of the record. Numbers start at 1 and increase by one.
    pub id: u64,
    /// The actor: an email address, `agent:<server>`, `token:<name>` or `local:<user>`.
    pub actor: String,
    /// The action, such as `wg_client_created` or `login_failed`.
    pub action: String,
    /// The target, such as `los-angeles/alice-iphone`, a server or a user.
    pub target: String,
    /// The caller's IP address; empty if there is none (the local socket).
    pub ip: String,
    /// The time of the action.
    pub created_at: Timestamp,
    /// Details that do not fit into the other fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The id of the request that caused the record, as in the `X-Request-Id` of its response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Uuid>,
    /// The changes, field by field. They never contain a secret.
    #[serde(default, skip_serializing_if = "Changes::is_empty")]
    pub changes: Changes,
    /// The SHA-256 hash over the previous record's hash and this record (see `docs/audit.md`).
    #[serde(default)]
    pub hash: Hash,
}

/// A change to a field. A field of a new object has no `before`, and a field of a removed object has no `after`.
/// Null is a value like any other, and means "none".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FieldChange {
    /// The previous value.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub before: Option<Value>,
    /// The new value.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub after: Option<Value>,
}

/// The changed fields, keyed by name. They never contain a secret.
pub type Changes = BTreeMap<String, FieldChange>;

/// A statement of the log's state at one record, signed by the plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Checkpoint {
    /// The number of the record.
    pub id: u64,
    /// The hash of the record.
    pub hash: Hash,
    /// The time of the signature.
    pub created_at: Timestamp,
    /// The key that verifies the signature.
    pub public_key: AuditKey,
    /// The signature.
    pub signature: Signature,
}

/// A statement about records that were removed because of their age, signed by the plane. The chain begins after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Pruned {
    /// The last record that was removed.
    pub id: u64,
    /// The hash of that record.
    pub hash: Hash,
    /// The number of records that have been removed since the log began.
    pub count: u64,
    /// The time of the signature.
    pub created_at: Timestamp,
    /// The key that verifies the signature.
    pub public_key: AuditKey,
    /// The signature.
    pub signature: Signature,
}

/// One line of the JSON Lines export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AuditLine {
    /// The statement about the removed records, which preceded all records that follow.
    Pruned(Pruned),
    /// A record.
    Record(AuditRecord),
    /// A checkpoint, which covers all records before it.
    Checkpoint(Checkpoint),
}

/// A fault in a log and its position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Fault {
    /// The first record that has been tampered with or is missing.
    pub id: u64,
    /// A description of the evidence.
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
    /// True if the log is intact.
    pub ok: bool,
    /// The number of records that were read.
    pub records: u64,
    /// The first record in the log; null if there is none.
    pub first: Option<u64>,
    /// The last intact record; null if there is none.
    pub last: Option<u64>,
    /// The number and the hash of the last intact record. A copy that is stored elsewhere can later show whether
    /// the log has been truncated.
    pub head: Head,
    /// The number of checkpoints that were verified.
    pub checkpoints: u64,
    /// The last record that a checkpoint covers. Anyone with access to the file could have removed or rewritten
    /// the records after it.
    pub signed_until: u64,
    /// The key that verifies the signature of that checkpoint.
    pub public_key: Option<AuditKey>,
    /// The statement about the removed records that preceded the first one; null if there is none.
    pub pruned: Option<Pruned>,
    /// The first fault; null if there is none.
    pub fault: Option<Fault>,
}

/// The key that verifies checkpoints (`GET /api/audit/key`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct AuditPublicKey {
    /// The public key.
    pub public_key: AuditKey,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_distinguished_from_an_absent_field() {
        let change: FieldChange = serde_json::from_str(r#"{"before": null}"#).unwrap();
        assert_eq!((change.before, change.after), (Some(Value::Null), None));
    }
}
