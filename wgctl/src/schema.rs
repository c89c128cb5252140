//! The JSON Schemas of the value types, for the OpenAPI document.
//!
//! Owns one pattern for each text type with a fixed form. A pattern must not accept any text that the type's parser
//! refuses, or the reverse; the tests compare the two. The request and response types derive their schemas from these.

use std::borrow::Cow;

use schemars::transform::transform_subschemas;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::address::Endpoint;
use crate::api::{AuditKey, Hash, Head, Signature};
use crate::key::PublicKey;
use crate::name::{
    Email, Incarnation, InterfaceName, PeerId, PeerName, RequestId, ServerId, TokenId, TokenName, UserId,
};
use crate::pin::Pin;
use crate::protocol::v1::Sealed;
use crate::time::Timestamp;

macro_rules! schemas {
    ($($type:ty, $name:literal: $json:tt;)*) => {
        $(impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($json)
            }
        })*
    };
}

/// The characters that `str::trim` removes, for use in a character class.
macro_rules! blanks {
    () => {
        r"\u0020\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
    };
}

/// The characters that no name may contain: control characters and deceptive ones (`name::is_deceptive`).
/// Characters beyond the basic multilingual plane are written literally, because not every regular expression
/// dialect has an escape for them.
macro_rules! unsafe_characters {
    () => {
        concat!(
            r"\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f",
            r"\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb",
            "\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}"
        )
    };
}

/// A port from 1 to 65535, without leading zeros.
macro_rules! port {
    () => {
        "(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
    };
}

macro_rules! ipv4 {
    () => {
        r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
    };
}

/// An IPv4 address in the form that a network may contain: leading zeros are accepted and do not mean octal.
macro_rules! lax_ipv4 {
    () => {
        r"(?:(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]{1,2})\.){3}(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]{1,2})"
    };
}

/// An IPv6 address (RFC 4291, section 2.2), with one alternative for each number of groups before the `::`.
macro_rules! ipv6 {
    ($($ipv4:tt)*) => {
        concat!(
            "(?:",
            "(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}",
            "|(?:[0-9A-Fa-f]{1,4}:){6}",
            $($ipv4)*,
            "|(?:[0-9A-Fa-f]{1,4}:){1,7}:",
            "|(?:[0-9A-Fa-f]{1,4}:){1,6}(?::[0-9A-Fa-f]{1,4})",
            "|(?:[0-9A-Fa-f]{1,4}:){1,5}(?::[0-9A-Fa-f]{1,4}){1,2}",
            "|(?:[0-9A-Fa-f]{1,4}:){1,4}(?::[0-9A-Fa-f]{1,4}){1,3}",
            "|(?:[0-9A-Fa-f]{1,4}:){1,3}(?::[0-9A-Fa-f]{1,4}){1,4}",
            "|(?:[0-9A-Fa-f]{1,4}:){1,2}(?::[0-9A-Fa-f]{1,4}){1,5}",
            "|[0-9A-Fa-f]{1,4}:(?::[0-9A-Fa-f]{1,4}){1,6}",
            "|:(?:(?::[0-9A-Fa-f]{1,4}){1,7}|:)",
            "|(?:[0-9A-Fa-f]{1,4}:){1,5}:",
            $($ipv4)*,
            "|(?:[0-9A-Fa-f]{1,4}:){1,4}(?::[0-9A-Fa-f]{1,4}){1}:",
            $($ipv4)*,
            "|(?:[0-9A-Fa-f]{1,4}:){1,3}(?::[0-9A-Fa-f]{1,4}){1,2}:",
            $($ipv4)*,
            "|(?:[0-9A-Fa-f]{1,4}:){1,2}(?::[0-9A-Fa-f]{1,4}){1,3}:",
            $($ipv4)*,
            "|[0-9A-Fa-f]{1,4}:(?::[0-9A-Fa-f]{1,4}){1,4}:",
            $($ipv4)*,
            "|:(?::[0-9A-Fa-f]{1,4}){0,5}:",
            $($ipv4)*,
            ")"
        )
    };
}

const SERVER_ID: &str = "^[a-z0-9][a-z0-9-]{0,62}$";
const PEER_NAME: &str = concat!(
    "^[^",
    unsafe_characters!(),
    blanks!(),
    "](?:[^",
    unsafe_characters!(),
    "]{0,62}[^",
    unsafe_characters!(),
    blanks!(),
    "])?$"
);
const EMAIL: &str = concat!(
    "^[^@",
    unsafe_characters!(),
    blanks!(),
    "]+@[^@",
    unsafe_characters!(),
    blanks!(),
    "]+$"
);
const INTERFACE_NAME: &str =
    "^(?:[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}|\\.[A-Za-z0-9_-][A-Za-z0-9_.-]{0,13}|\\.\\.[A-Za-z0-9_.-]{1,13})$";
const ENDPOINT: &str = concat!(
    "^(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(?:\\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\\.?|\\[",
    ipv6!(ipv4!()),
    "\\]):",
    port!(),
    "$"
);
const KEY: &str = "^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$";
const NO_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const BASE64: &str = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";
const TOKEN_NAME: &str = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$";
const HASH: &str = "^[0-9A-Fa-f]{64}$";
const HEAD: &str = "^[0-9]{1,20}:[0-9A-Fa-f]{64}$";
const AUDIT_KEY: &str = "^ed25519:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$";
const SIGNATURE: &str = "^[A-Za-z0-9+/]{85}[AQgw]==$";
const PIN: &str = "^sha256:[0-9A-Fa-f]{64}$";
const UUID: &str = "^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$";
const TIMESTAMP: &str = "^[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$";
const NETWORK: &str = concat!(
    "^(?:",
    lax_ipv4!(),
    "/(?:[0-2]?[0-9]|3[0-2])|",
    "(?:",
    ipv6!(lax_ipv4!()),
    // Networks and addresses have different parsers: in a network, `::` may stand for no groups at all.
    "|:(?::[0-9A-Fa-f]{1,4}){6}:",
    lax_ipv4!(),
    "|(?:[0-9A-Fa-f]{1,4}:){1}(?::[0-9A-Fa-f]{1,4}){5}:",
    lax_ipv4!(),
    "|(?:[0-9A-Fa-f]{1,4}:){2}(?::[0-9A-Fa-f]{1,4}){4}:",
    lax_ipv4!(),
    "|(?:[0-9A-Fa-f]{1,4}:){3}(?::[0-9A-Fa-f]{1,4}){3}:",
    lax_ipv4!(),
    "|(?:[0-9A-Fa-f]{1,4}:){4}(?::[0-9A-Fa-f]{1,4}){2}:",
    lax_ipv4!(),
    "|(?:[0-9A-Fa-f]{1,4}:){5}(?::[0-9A-Fa-f]{1,4}){1}:",
    lax_ipv4!(),
    "|(?:[0-9A-Fa-f]{1,4}:){6}:",
    lax_ipv4!(),
    "|:(?::[0-9A-Fa-f]{1,4}){8}",
    "|(?:[0-9A-Fa-f]{1,4}:){1}(?::[0-9A-Fa-f]{1,4}){7}",
    "|(?:[0-9A-Fa-f]{1,4}:){2}(?::[0-9A-Fa-f]{1,4}){6}",
    "|(?:[0-9A-Fa-f]{1,4}:){3}(?::[0-9A-Fa-f]{1,4}){5}",
    "|(?:[0-9A-Fa-f]{1,4}:){4}(?::[0-9A-Fa-f]{1,4}){4}",
    "|(?:[0-9A-Fa-f]{1,4}:){5}(?::[0-9A-Fa-f]{1,4}){3}",
    "|(?:[0-9A-Fa-f]{1,4}:){6}(?::[0-9A-Fa-f]{1,4}){2}",
    "|(?:[0-9A-Fa-f]{1,4}:){7}(?::[0-9A-Fa-f]{1,4}){1}",
    ")",
    "/(?:0?[0-9]{1,2}|1[01][0-9]|12[0-8]))$"
);

schemas! {
    ServerId, "ServerId": {
        "description": "A server's id: a slug that never changes.",
        "type": "string", "pattern": SERVER_ID
    };
    PeerName, "PeerName": {
        "description": "A client's name: 1 to 64 characters, without control characters, line separators, direction marks or invisible characters, and without leading or trailing whitespace.",
        "type": "string", "minLength": 1, "maxLength": 64, "pattern": PEER_NAME
    };
    Email, "Email": {
        "description": "An email address of at most 254 bytes, stored in lower case.",
        "type": "string", "minLength": 3, "maxLength": 254, "pattern": EMAIL
    };
    InterfaceName, "InterfaceName": {
        "description": "A network interface's name, as the kernel accepts it.",
        "type": "string", "minLength": 1, "maxLength": 15, "pattern": INTERFACE_NAME
    };
    Endpoint, "Endpoint": {
        "description": "host:port as a client dials it: a DNS name, an IPv4 address, or an IPv6 address in brackets.",
        "type": "string", "maxLength": 260, "pattern": ENDPOINT
    };
    PublicKey, "PublicKey": {
        "description": "A WireGuard public key: 32 bytes in base64, not all zero.",
        "type": "string", "pattern": KEY, "not": { "const": NO_KEY }
    };
    Sealed, "Sealed": {
        "description": "A secret that only one agent can open, in base64.",
        "type": "string", "contentEncoding": "base64", "pattern": BASE64
    };
    Hash, "Hash": { "description": "The SHA-256 hash of an audit record, which also covers all records before it.", "type": "string", "pattern": HASH };
    Head, "Head": { "description": "The number and the hash of an audit record.", "type": "string", "pattern": HEAD };
    AuditKey, "AuditKey": { "description": "The public key that verifies the audit log's checkpoints.", "type": "string", "pattern": AUDIT_KEY };
    Signature, "Signature": { "description": "An Ed25519 signature in base64.", "type": "string", "pattern": SIGNATURE };
    Pin, "Pin": {
        "description": "The SHA-256 hash of the plane's public key (SubjectPublicKeyInfo).",
        "type": "string", "pattern": PIN
    };
    PeerId, "ClientId": { "description": "A client's id.", "type": "string", "format": "uuid", "pattern": UUID };
    TokenName, "TokenName": {
        "description": "An API token's name, as the audit log shows it after `token:`.",
        "type": "string", "minLength": 1, "maxLength": 64, "pattern": TOKEN_NAME
    };
    TokenId, "TokenId": { "description": "An API token's id.", "type": "string", "format": "uuid", "pattern": UUID };
    UserId, "UserId": { "description": "A user's id.", "type": "string", "format": "uuid", "pattern": UUID };
    RequestId, "RequestId": { "description": "The id of a request to an agent.", "type": "string", "format": "uuid", "pattern": UUID };
    Incarnation, "Incarnation": {
        "description": "The id of one lifetime of a series of numbers, such as revisions or counters. Numbers from different incarnations cannot be compared.",
        "type": "string", "format": "uuid", "pattern": UUID
    };
    Timestamp, "Timestamp": {
        "description": "A time (RFC 3339). Responses are in UTC, to the second.",
        "type": "string", "format": "date-time", "pattern": TIMESTAMP
    };
}

/// Corrects the schemas that the library generates for foreign types: its `format: ip` is not a JSON
/// Schema format, and a `u64` has a maximum. The descriptions come from doc comments, so their intra-doc links
/// are removed.
pub fn adjust(schema: &mut Schema) {
    transform_subschemas(&mut adjust, schema);
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Value::String(words)) = object.get_mut("description") {
        *words = words.replace("[`", "`").replace("`]", "`").replace('\n', " ");
    }
    match object.get("format").and_then(Value::as_str) {
        Some("ip") => {
            object.remove("format");
            object.insert("anyOf".to_owned(), json!([{ "format": "ipv4" }, { "format": "ipv6" }]));
        }
        Some("uint32") => drop(object.insert("maximum".to_owned(), u32::MAX.into())),
        Some("uint64" | "uint") => drop(object.insert("maximum".to_owned(), u64::MAX.into())),
        _ => {}
    }
}

/// Returns the definition that is used for [`ipnet::IpNet`].
#[must_use]
pub fn network() -> Value {
    json!({
        "description": "A network: an IPv4 or IPv6 address and its prefix length. Bits beyond the prefix are cleared.",
        "type": "string",
        "pattern": NETWORK
    })
}

#[cfg(test)]
mod tests {
    use ipnet::IpNet;
    use proptest::prelude::*;
    use proptest::string::string_regex;
    use regex::Regex;
    use serde::de::DeserializeOwned;

    use super::*;

    /// Checks that the pattern and the parser accept the same texts. Lengths are tested in `name`.
    #[track_caller]
    fn agree<T: DeserializeOwned>(pattern: &str, text: &str, longest: usize) {
        if text.len() > longest {
            return;
        }
        let taken = serde_json::from_value::<T>(Value::String(text.to_owned())).is_ok();
        let shown = Regex::new(pattern).unwrap().is_match(text) && text != NO_KEY;
        assert_eq!(taken, shown, "{text:?}");
    }

    /// Generates texts that are close to an accepted one: one character is added, removed or replaced.
    fn near(pattern: &'static str) -> impl Strategy<Value = String> {
        let strange = prop_oneof![
            Just(' '),
            Just('-'),
            Just('.'),
            Just(':'),
            Just('0'),
            Just('\u{2028}'),
            any::<char>()
        ];
        let inner = pattern.trim_start_matches('^').trim_end_matches('$');
        (
            string_regex(inner).unwrap(),
            any::<prop::sample::Index>(),
            0..4u8,
            strange,
        )
            .prop_map(|(text, at, how, c)| {
                let mut characters: Vec<char> = text.chars().collect();
                let at = at.index(characters.len() + 1);
                match how {
                    0 => characters.insert(at, c),
                    1 if at < characters.len() => drop(characters.remove(at)),
                    2 if at < characters.len() => characters[at] = c,
                    _ => {}
                }
                characters.into_iter().collect()
            })
    }

    macro_rules! agreement {
        ($($name:ident: $type:ty, $pattern:expr, $longest:expr;)*) => {
            proptest! {
                $(#[test]
                fn $name(text in near($pattern)) {
                    agree::<$type>($pattern, &text, $longest);
                })*
            }
        };
    }

    agreement! {
        the_server_id_pattern_agrees_with_the_parser: ServerId, SERVER_ID, 63;
        the_email_pattern_agrees_with_the_parser: Email, EMAIL, 254;
        the_interface_name_pattern_agrees_with_the_parser: InterfaceName, INTERFACE_NAME, 15;
        the_endpoint_pattern_agrees_with_the_parser: Endpoint, ENDPOINT, 253;
        the_key_pattern_agrees_with_the_parser: PublicKey, KEY, 44;
        the_token_name_pattern_agrees_with_the_parser: TokenName, TOKEN_NAME, 64;
        the_pin_pattern_agrees_with_the_parser: Pin, PIN, 71;
        the_id_pattern_agrees_with_the_parser: PeerId, UUID, 36;
        the_network_pattern_agrees_with_the_parser: IpNet, NETWORK, 43;
        the_peer_name_pattern_agrees_with_the_parser: PeerName, PEER_NAME, 64;
        the_sealed_secret_pattern_agrees_with_the_parser: Sealed, BASE64, usize::MAX;
    }

    /// Tests every number of groups before and after the gap, with and without an IPv4 tail.
    #[test]
    fn patterns_and_parsers_agree_for_any_number_of_groups() {
        for (before, after) in (0..=9).flat_map(|before| (0..=9).map(move |after| (before, after))) {
            let groups = |count: usize| vec!["a0"; count].join(":");
            for tail in ["", "1.2.3.4"] {
                let end = [groups(after), tail.to_owned()]
                    .into_iter()
                    .filter(|part| !part.is_empty());
                let end = end.collect::<Vec<_>>().join(":");
                for text in [
                    format!("{}::{end}", groups(before)),
                    format!("{}:{end}", groups(before)),
                ] {
                    agree::<IpNet>(NETWORK, &format!("{text}/0"), usize::MAX);
                    agree::<Endpoint>(ENDPOINT, &format!("[{text}]:1"), 253);
                }
            }
        }
    }
}
