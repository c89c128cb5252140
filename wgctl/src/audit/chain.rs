//! The hash of a record.
//!
//! Owns the canonical encoding: SHA-256 over the 32 bytes of the previous record's hash and nine netstrings
//! (`LENGTH:BYTES,`). The encoding must never change, because existing hashes are verified with it.

use std::borrow::Cow;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::api::{AuditRecord, Changes, Hash};

/// Returns the hash of `record`, given the hash of the previous record (32 zero bytes for the first record).
#[must_use]
pub fn follow(previous: &Hash, record: &AuditRecord) -> Hash {
    let mut sum = Sha256::new();
    sum.update(previous.0);
    for field in fields(record) {
        sum.update(field.len().to_string());
        sum.update(b":");
        sum.update(field.as_bytes());
        sum.update(b",");
    }
    Hash(sum.finalize().into())
}

/// Returns the fields as text, in the order in which they are hashed. An absent field is an empty string.
fn fields(record: &AuditRecord) -> [Cow<'_, str>; 9] {
    // Every field is listed, so that a new one cannot be left out of the hash unnoticed.
    let AuditRecord {
        id,
        actor,
        action,
        target,
        ip,
        created_at,
        detail,
        request_id,
        changes,
        hash: _,
    } = record;
    [
        id.to_string().into(),
        actor.into(),
        action.into(),
        target.into(),
        ip.into(),
        created_at.to_string().into(),
        detail.as_deref().unwrap_or_default().into(),
        request_id.map(|id| id.to_string()).unwrap_or_default().into(),
        canonical(changes).into(),
    ]
}

/// Returns the changes as canonical JSON: names in byte order, no whitespace, and only mandatory escapes.
/// Returns an empty string if there are no changes.
#[must_use]
pub fn canonical(changes: &Changes) -> String {
    let mut text = String::new();
    if changes.is_empty() {
        return text;
    }
    let sides = changes.iter().map(|(name, change)| {
        let sides = [("after", &change.after), ("before", &change.before)];
        let present = sides
            .into_iter()
            .filter_map(|(side, value)| value.as_ref().map(|value| (side, value)));
        (name, present)
    });
    object(&mut text, sides, |text, sides| object(text, sides, write));
    text
}

fn object<N: AsRef<str>, V>(
    text: &mut String,
    entries: impl Iterator<Item = (N, V)>,
    write_value: impl Fn(&mut String, V),
) {
    text.push('{');
    for (at, (name, value)) in entries.enumerate() {
        if at > 0 {
            text.push(',');
        }
        write(text, &Value::from(name.as_ref()));
        text.push(':');
        write_value(text, value);
    }
    text.push('}');
}

fn write(text: &mut String, value: &Value) {
    match value {
        Value::Object(map) => {
            // The order must not depend on the type of the map.
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(name, _)| name.as_str());
            object(text, entries.into_iter(), write);
        }
        Value::Array(values) => {
            text.push('[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write(text, value);
            }
            text.push(']');
        }
        plain => text.push_str(&plain.to_string()),
    }
}
