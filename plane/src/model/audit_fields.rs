//! The fields of a record that the audit log shows, and the differences between two versions of a record.
//!
//! Owns the choice of fields that the log may show, and the limit on the length of each. It must not show a secret key,
//! a hash or a token. Every field of a record is named here, so that a new field breaks the build until someone decides
//! whether to show it.

use serde_json::{Value, json};
use wgctl::api::{Changes, FieldChange};

use super::caller::Entry;
use super::records::{PeerRecord, ServerRecord, TokenRecord, UserRecord};

/// The maximum length of a value that is shown, in bytes of JSON. A longer value is replaced with its size and its
/// hash.
const LONGEST_VALUE: usize = 512;

/// The fields of a record, each with its name.
type View = Vec<(&'static str, Value)>;

/// A record whose changes the log shows.
pub(crate) trait AuditFields {
    /// Returns the fields that may be shown.
    fn view(&self) -> View;
    /// Returns the secret that must not be shown, and the name under which the log records that it changed.
    fn secret(&self) -> Option<(&'static str, &[u8])>;
}

impl Entry {
    /// Adds the values of a new record.
    pub(crate) fn made(self, new: &impl AuditFields) -> Self {
        self.with_changes(difference(&[], &new.view()))
    }

    /// Adds the last values of a removed record.
    pub(crate) fn removed(self, old: &impl AuditFields) -> Self {
        self.with_changes(difference(&old.view(), &[]))
    }

    /// Adds the differences between the old and the new version of a record.
    pub(crate) fn changed<T: AuditFields>(self, old: &T, new: &T) -> Self {
        let mut changes = difference(&old.view(), &new.view());
        if let (Some((_, before)), Some((name, after))) = (old.secret(), new.secret())
            && before != after
        {
            let change = FieldChange {
                before: None,
                after: Some(Value::from("changed")),
            };
            changes.insert(name.to_owned(), change);
        }
        self.with_changes(changes)
    }

    fn with_changes(self, changes: Changes) -> Self {
        Self { changes, ..self }
    }
}

/// Returns the fields that differ.
fn difference(before: &[(&'static str, Value)], after: &[(&'static str, Value)]) -> Changes {
    let of =
        |view: &[(&'static str, Value)], name| view.iter().find(|(other, _)| *other == name).map(|(_, v)| v.clone());
    let names = before.iter().chain(after).map(|(name, _)| *name);
    let mut changes = Changes::new();
    for name in names {
        let (before, after) = (of(before, name), of(after, name));
        if before != after {
            let change = FieldChange {
                before: before.map(shorten),
                after: after.map(shorten),
            };
            changes.insert(name.to_owned(), change);
        }
    }
    changes
}

/// Replaces a value that is too long with its size and its hash.
fn shorten(value: Value) -> Value {
    use sha2::{Digest as _, Sha256};
    let text = value.to_string();
    if text.len() <= LONGEST_VALUE {
        return value;
    }
    let sum = Sha256::digest(&text);
    let digits: String = sum.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Value::from(match value.as_array() {
        Some(list) => format!("{} values, SHA-256 {digits}…", list.len()),
        None => format!("{} characters, SHA-256 {digits}…", text.chars().count()),
    })
}

impl AuditFields for ServerRecord {
    fn view(&self) -> View {
        let Self {
            id: _,
            endpoint,
            address_pool,
            dns,
            allowed_ips,
            mtu,
            persistent_keepalive,
            interface,
            listen_port,
            masquerade,
            ping_target,
            drift_policy,
            public_key,
            adopt,
            token_hash: _,
            old_token,
            created_at: _,
            updated_at: _,
        } = self;
        vec![
            ("endpoint", json!(endpoint)),
            ("address_pool", json!(address_pool)),
            ("dns", json!(dns)),
            ("allowed_ips", json!(allowed_ips)),
            ("mtu", json!(mtu)),
            ("persistent_keepalive", json!(persistent_keepalive)),
            ("interface", json!(interface)),
            ("listen_port", json!(listen_port)),
            ("masquerade", json!(masquerade)),
            ("ping_target", json!(ping_target)),
            ("drift_policy", json!(drift_policy)),
            ("public_key", json!(public_key)),
            ("adopt", json!(adopt)),
            (
                "previous_token_valid_until",
                json!(old_token.as_ref().map(|old| old.until)),
            ),
        ]
    }

    fn secret(&self) -> Option<(&'static str, &[u8])> {
        Some(("agent_token", &self.token_hash))
    }
}

impl AuditFields for PeerRecord {
    fn view(&self) -> View {
        let Self {
            id,
            place: _,
            name,
            enabled,
            public_key,
            private_key,
            preshared_key,
            addresses,
            allowed_ips,
            server_allowed_ips,
            dns,
            persistent_keepalive,
            mtu,
            host_keepalive,
            expires_at,
            created_at: _,
            updated_at: _,
            revision: _,
            changed_at: _,
        } = self;
        vec![
            ("id", json!(id)),
            ("name", json!(name)),
            ("enabled", json!(enabled)),
            ("publicKey", json!(public_key)),
            ("privateKeyHeld", json!(private_key.is_some())),
            ("presharedKey", json!(preshared_key.is_some())),
            ("addresses", json!(addresses)),
            ("allowedIPs", json!(allowed_ips)),
            ("serverAllowedIPs", json!(server_allowed_ips)),
            ("dns", json!(dns)),
            ("persistentKeepalive", json!(persistent_keepalive)),
            ("mtu", json!(mtu)),
            ("hostKeepalive", json!(host_keepalive)),
            ("expiresAt", json!(expires_at)),
        ]
    }

    fn secret(&self) -> Option<(&'static str, &[u8])> {
        None
    }
}

impl AuditFields for UserRecord {
    fn view(&self) -> View {
        let Self {
            id,
            email,
            role,
            enabled,
            password_hash: _,
            session_epoch: _,
            created_at: _,
            last_login_at: _,
            known_addresses: _,
        } = self;
        vec![
            ("id", json!(id)),
            ("email", json!(email)),
            ("role", json!(role)),
            ("enabled", json!(enabled)),
        ]
    }

    fn secret(&self) -> Option<(&'static str, &[u8])> {
        Some(("password", self.password_hash.as_bytes()))
    }
}

impl AuditFields for TokenRecord {
    fn view(&self) -> View {
        let Self {
            id,
            name,
            role,
            servers,
            hash: _,
            expires_at,
            created_at: _,
            created_by: _,
        } = self;
        vec![
            ("id", json!(id)),
            ("name", json!(name)),
            ("role", json!(role)),
            ("servers", json!(servers)),
            ("expires_at", json!(expires_at)),
        ]
    }

    fn secret(&self) -> Option<(&'static str, &[u8])> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(pairs: &[(&'static str, Value)]) -> View {
        pairs.to_vec()
    }

    #[test]
    fn only_changed_fields_are_shown_and_null_counts_as_a_value() {
        let before = view(&[("mtu", Value::Null), ("dns", json!(["1.1.1.1"])), ("same", json!(1))]);
        let after = view(&[("mtu", json!(1400)), ("dns", json!([])), ("same", json!(1))]);
        let changes = difference(&before, &after);
        assert_eq!(
            json!(changes),
            json!({"mtu": {"before": null, "after": 1400}, "dns": {"before": ["1.1.1.1"], "after": []}})
        );
        assert_eq!(json!(difference(&[], &after))["mtu"], json!({"after": 1400}));
        assert_eq!(json!(difference(&before, &[]))["mtu"], json!({"before": null}));
        assert!(difference(&after, &after).is_empty());
    }

    #[test]
    fn a_long_value_is_shown_as_its_size_and_hash() {
        let nets: Vec<String> = (0..1000).map(|n| format!("10.0.{}.{}/32", n / 256, n % 256)).collect();
        let other: Vec<String> = nets.iter().rev().cloned().collect();
        let changes = difference(&[("allowed_ips", json!(nets))], &[("allowed_ips", json!(other))]);
        let shown = json!(changes).to_string();
        assert!(shown.len() < 200 && shown.contains("1000 values, SHA-256 "), "{shown}");
        let change = &changes["allowed_ips"];
        assert_ne!(change.before, change.after);
    }
}
