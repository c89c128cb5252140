//! A record's hash.
//!
//! Owns the canonical encoding: SHA-256 over the 32 bytes of the previous record's hash and nine
//! netstrings (`LENGTH:BYTES,`). It must stay as it is for ever: what was hashed so is verified so.

use std::borrow::Cow;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::api::{AuditRecord, Changes, Hash};

/// The hash of `record` after the record whose hash is `previous`; 32 zero bytes before the first.
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

/// The fields in their order, as text. What is absent is empty.
fn fields(record: &AuditRecord) -> [Cow<'_, str>; 9] {
    // Named one by one: a field that is added must not stay out of the hash unnoticed.
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

/// The changes as JSON in their one form: names in the order of their bytes, no blanks, only what
/// must be escaped is. Nothing for no change.
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
            // However the map is ordered.
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
