//! What makes the audit log provable, as the API shows it.
//!
//! Owns the values: hashes, what changed, signed checkpoints, and the outcome of a verification.
//! It must not compute a hash or check a signature: that is `crate::audit`'s.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::AuditRecord;
use crate::time::Timestamp;

/// A text that is no value of the audit log's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not {0}")]
pub struct FormatError(&'static str);

macro_rules! as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

/// SHA-256 of a record and, through the record before it, of all before it: 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Hash(pub [u8; 32]);

as_text!(Hash);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Hash {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let wrong = FormatError("a hash: it has 64 hexadecimal digits");
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong);
        }
        let mut hash = [0; 32];
        for (at, byte) in hash.iter_mut().enumerate() {
            let digits = text.get(at * 2..at * 2 + 2).ok_or(wrong)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong)?;
        }
        Ok(Self(hash))
    }
}

/// The public key that the log's checkpoints are checked with: `ed25519:` and base64.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuditKey(pub [u8; 32]);

as_text!(AuditKey);

impl fmt::Display for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ed25519:{}", BASE64.encode(self.0))
    }
}

impl FromStr for AuditKey {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let bytes = text.strip_prefix("ed25519:").and_then(|text| BASE64.decode(text).ok());
        let key = bytes.and_then(|bytes| bytes.try_into().ok());
        key.map(Self).ok_or(FormatError(
            "a key of the audit log: it is ed25519: and 44 characters of base64",
        ))
    }
}

/// An Ed25519 signature, in base64.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

as_text!(Signature);

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.0))
    }
}

impl FromStr for Signature {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let bytes = BASE64.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(Self)
            .ok_or(FormatError("a signature: it is 88 characters of base64"))
    }
}

/// A record by its number and its hash: `1234:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// The record's number; 0 before the first.
    pub id: u64,
    /// Its hash.
    pub hash: Hash,
}

as_text!(Head);

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.id, self.hash)
    }
}

impl FromStr for Head {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let parts = text
            .split_once(':')
            .and_then(|(id, hash)| Some((id.parse().ok()?, hash.parse().ok()?)));
        parts
            .map(|(id, hash)| Self { id, hash })
            .ok_or(FormatError("a head: it is a record's number, a colon and its hash"))
    }
}

/// What a field was, and what it is. A thing that was made has no before, one that was removed no
/// after. Null is a value: "none".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FieldChange {
    /// What it was.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::given")]
    pub before: Option<Value>,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::given")]
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
    /// Whose signature it is.
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
    /// How many records were removed, ever.
    pub count: u64,
    /// When this was signed.
    pub created_at: Timestamp,
    /// Whose signature it is.
    pub public_key: AuditKey,
    /// The signature.
    pub signature: Signature,
}

/// One line of the export as JSON Lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AuditLine {
    /// What was removed before all that follows.
    Pruned(Pruned),
    /// A record.
    Record(AuditRecord),
    /// The word for all before it.
    Checkpoint(Checkpoint),
}

/// What is wrong with a log, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Fault {
    /// The first record that is not as it was written.
    pub id: u64,
    /// How that shows.
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
    /// Whether all is as it was written.
    pub ok: bool,
    /// How many records were read.
    pub records: u64,
    /// The first record there is; null where there is none.
    pub first: Option<u64>,
    /// The last record that is as it was written; null where there is none.
    pub last: Option<u64>,
    /// The last record that is as it was written, and its hash. To note it elsewhere is to know, later,
    /// whether the log was cut.
    pub head: Head,
    /// How many checkpoints were checked.
    pub checkpoints: u64,
    /// The last record that a checkpoint covers; what comes after it could have been cut or rewritten
    /// by whoever has the file.
    pub signed_until: u64,
    /// Whose signature that checkpoint has.
    pub public_key: Option<AuditKey>,
    /// What was removed before the first record.
    pub pruned: Option<Pruned>,
    /// What is wrong; null where nothing is.
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
    fn values_are_text_that_reads_back() {
        let hash = Hash([0xab; 32]);
        assert_eq!(hash.to_string().parse::<Hash>(), Ok(hash));
        let head = Head { id: 7, hash };
        assert_eq!(head.to_string().parse::<Head>(), Ok(head));
        let key = AuditKey([7; 32]);
        assert_eq!(key.to_string().parse::<AuditKey>(), Ok(key));
        let signature = Signature([9; 64]);
        assert_eq!(signature.to_string().parse::<Signature>(), Ok(signature));
        for bad in [
            "",
            "ab",
            &"g".repeat(64),
            &format!("+{}", "a".repeat(63)),
            &"é".repeat(32),
        ] {
            assert!(bad.parse::<Hash>().is_err(), "{bad}");
        }
    }

    #[test]
    fn null_is_not_nothing() {
        let change: FieldChange = serde_json::from_str(r#"{"before": null}"#).unwrap();
        assert_eq!((change.before, change.after), (Some(Value::Null), None));
    }
}
