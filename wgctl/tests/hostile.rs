//! Tests with malicious text. Every value that the API's types accept is one line of plain text, and a configuration
//! built from it contains the intended settings and nothing else.
//!
//! Owns a reader of configurations that follows wg-quick(8), independent of the product's own parser.

// clippy.toml permits these in tests, but clippy recognizes only functions marked `#[test]` as tests.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::fmt::{Debug, Display};
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use proptest::prelude::*;
use serde_json::{Value, json};
use wgctl::address::Endpoint;
use wgctl::api::{NewPeer, NewServer, NewUser, Report};
use wgctl::config::PeerConfig;
use wgctl::name::{Email, InterfaceName};
use wgctl::{PeerId, PeerName, PresharedKey, PrivateKey, PublicKey, ServerId};

/// Pieces of text that could inject a line or reach another program.
const PIECES: &[&str] = &[
    "\n",
    "\r",
    "\r\n",
    "\0",
    "\t",
    "\u{b}",
    "\u{c}",
    "\u{1b}[2J",
    "\u{85}",
    "\u{9b}",
    "\u{2028}",
    "\u{2029}",
    "\u{202e}",
    "\u{2066}",
    "\u{61c}",
    "\u{200b}",
    "\u{feff}",
    "\u{ad}",
    "\u{e0041}",
    "[Peer]",
    "[Interface]",
    "#",
    "=",
    " = ",
    ",",
    "\"",
    "'",
    "\\",
    "`id`",
    "$(id)",
    ";",
    "|",
    "&",
    "<script>",
    "%0a",
    "%s",
    "{}",
    "../",
    "-",
    "PostUp=",
    "\nPostUp = touch /tmp/owned\n",
    "\rPreDown = id\r",
    "PreUp = id",
    "PostDown = id",
    "Table = off",
    "SaveConfig = true",
    "Endpoint = 192.0.2.66:1",
    "AllowedIPs = 0.0.0.0/0",
    "0.0.0.0/0",
    "::/0",
    "::ffff:10.0.0.1",
    "vpn.example.com:51820",
    "10.8.0.0/24",
    "alice",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "１",
    "ä",
    "日",
];

const LINE_ENDS: [char; 8] = ['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}', '\0'];

fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(PIECES).prop_map(str::to_owned),
        2 => any::<char>().prop_map(String::from),
        2 => "[ -~]{0,12}",
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

/// Generates a valid value for the field in half of the cases, otherwise malicious text.
fn field(right: &'static str) -> impl Strategy<Value = String> {
    prop_oneof![
        2 => Just(right.to_owned()),
        1 => hostile(),
        1 => hostile().prop_map(move |text| format!("{right}{text}")),
    ]
}

/// Checks that `text` is either refused as a `T`, or prints as one plain line that parses to the same `T`.
fn plain_or_refused<T: FromStr<Err: Debug> + Display + PartialEq + Debug>(text: &str) -> Result<(), TestCaseError> {
    let Ok(value) = text.parse::<T>() else { return Ok(()) };
    let shown = value.to_string();
    prop_assert!(!shown.chars().any(char::is_control), "{shown:?}");
    prop_assert!(!shown.contains(LINE_ENDS), "{shown:?}");
    prop_assert!(!shown.is_empty());
    prop_assert_eq!(shown.parse::<T>().unwrap(), value);
    Ok(())
}

/// Parses `text` like bash's `read` and wg-quick's `parse_options`: lines end at `\n`, `#` begins a
/// comment, and the first `=` separates key and value.
fn as_wg_quick_reads(text: &str) -> Vec<(String, String, String)> {
    let mut section = String::new();
    let mut settings = Vec::new();
    for line in text.split('\n') {
        let line = line.split('#').next().unwrap().trim();
        if line.starts_with('[') {
            section = line.to_owned();
        } else if !line.is_empty() {
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            settings.push((section.clone(), key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    settings
}

fn joined<T: ToString>(values: &[T]) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

/// Returns the settings that a configuration with these values must contain.
fn meant(config: &PeerConfig) -> Vec<(String, String, String)> {
    let settings = [
        (
            "[Interface]",
            "PrivateKey",
            config.private_key.as_ref().map(|key| key.to_base64().to_string()),
        ),
        ("[Interface]", "Address", Some(joined(&config.addresses))),
        ("[Interface]", "DNS", Some(joined(&config.dns))),
        ("[Interface]", "MTU", config.mtu.map(|mtu| mtu.to_string())),
        ("[Peer]", "PublicKey", Some(config.public_key.to_string())),
        (
            "[Peer]",
            "PresharedKey",
            config.preshared_key.as_ref().map(|key| key.to_base64().to_string()),
        ),
        ("[Peer]", "AllowedIPs", Some(joined(&config.allowed_ips))),
        ("[Peer]", "Endpoint", Some(config.endpoint.to_string())),
        (
            "[Peer]",
            "PersistentKeepalive",
            config.persistent_keepalive.map(|seconds| seconds.to_string()),
        ),
    ];
    let given = settings
        .into_iter()
        .filter_map(|(section, key, value)| Some((section, key, value.filter(|value| !value.is_empty())?)));
    given
        .map(|(section, key, value)| (section.to_owned(), key.to_owned(), value))
        .collect()
}

/// Returns the configuration that the agent and the plane build from an accepted server and client.
fn configuration(server: NewServer, client: NewPeer) -> Option<PeerConfig> {
    Some(PeerConfig {
        name: client.name?,
        private_key: client.public_key.is_none().then(|| PrivateKey::from_bytes([7; 32])),
        addresses: client
            .addresses
            .unwrap_or_default()
            .into_iter()
            .map(IpNet::from)
            .collect(),
        dns: client.dns.unwrap_or(server.dns),
        mtu: client.mtu.or(server.mtu),
        public_key: client
            .public_key
            .unwrap_or_else(|| PrivateKey::from_bytes([9; 32]).public_key()),
        preshared_key: PresharedKey::from_bytes([3; 32]).ok(),
        allowed_ips: client.allowed_ips.or(server.allowed_ips).unwrap_or_default(),
        endpoint: server.endpoint,
        persistent_keepalive: client
            .persistent_keepalive
            .or(server.persistent_keepalive)
            .filter(|seconds| *seconds > 0),
    })
}

fn requests() -> impl Strategy<Value = (Value, Value)> {
    let server = (
        field("vpn.example.com:51820"),
        field("10.8.0.0/24"),
        field("1.1.1.1"),
        field("::/0"),
    );
    let server = server.prop_map(|(endpoint, pool, dns, net)| {
        json!({"id": "los-angeles", "endpoint": endpoint, "address_pool": [pool], "dns": [dns], "allowed_ips": [net]})
    });
    let names = prop_oneof![1 => field("alice-iphone"), 3 => hostile()];
    let client = (names, field("1.1.1.1"), field("10.0.0.0/8"), field("10.8.0.2"), 0u16..3);
    let client = client.prop_map(|(name, dns, net, address, keepalive)| {
        json!({"name": name, "dns": [dns], "allowedIPs": [net, "::/0"], "addresses": [address],
               "persistentKeepalive": keepalive})
    });
    (server, client)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_global_rejects: u32::MAX, ..ProptestConfig::default() })]

    #[test]
    fn cve_2026_72603_no_text_in_a_request_becomes_a_line_of_a_configuration((server, client) in requests()) {
        let (Ok(server), Ok(client)) = (serde_json::from_value(server), serde_json::from_value(client)) else {
            return Ok(());
        };
        let Some(config) = configuration(server, client) else { return Ok(()) };
        let text = config.render();
        prop_assert_eq!(as_wg_quick_reads(&text), meant(&config));
        prop_assert_eq!(&text.parse::<PeerConfig>().unwrap(), &config);
        for line in text.split(LINE_ENDS) {
            let key = line.trim_start().to_lowercase();
            for hook in ["preup", "postup", "predown", "postdown", "table", "saveconfig"] {
                prop_assert!(!key.starts_with(hook), "{line:?}");
            }
        }
    }

    #[test]
    fn cve_2026_72603_text_is_refused_or_is_one_plain_line(text in hostile()) {
        plain_or_refused::<PeerName>(&text)?;
        plain_or_refused::<ServerId>(&text)?;
        plain_or_refused::<InterfaceName>(&text)?;
        plain_or_refused::<Email>(&text)?;
        plain_or_refused::<Endpoint>(&text)?;
        plain_or_refused::<IpAddr>(&text)?;
        plain_or_refused::<IpNet>(&text)?;
        plain_or_refused::<PublicKey>(&text)?;
        plain_or_refused::<PeerId>(&text)?;
    }

    /// Sentrazone itself passes endpoints to neither a shell nor a resolver (openwrt/luci #7452). Even so, no
    /// character of an accepted endpoint has a special meaning to either.
    #[test]
    fn an_endpoint_contains_only_letters_digits_and_harmless_punctuation(text in field("vpn.example.com:51820")) {
        if let Ok(endpoint) = text.parse::<Endpoint>() {
            let known = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
            prop_assert!(endpoint.to_string().chars().all(known), "{endpoint}");
            prop_assert!(!endpoint.host().starts_with('-'), "a program could read the host as an option");
        }
    }

    #[test]
    fn a_name_is_stored_exactly_as_typed_or_is_refused(name in hostile()) {
        let body = json!({"name": name});
        if let Ok(NewPeer { name: Some(taken), .. }) = serde_json::from_value(body) {
            prop_assert_eq!(taken.as_str(), &name);
        }
    }
}

#[test]
fn a_name_that_looks_like_a_setting_remains_a_comment() {
    for name in [
        "[Peer]",
        "PostUp = touch /tmp/owned",
        "# PostUp = id",
        "a # b",
        "a\\",
        "\"a\"",
        "x = y",
        "$(id)",
    ] {
        let client = serde_json::from_value(json!({"name": name})).unwrap();
        let server = serde_json::from_value(json!({"id": "a", "endpoint": "h:1", "address_pool": ["10.8.0.0/24"]}));
        let config = configuration(server.unwrap(), client).unwrap();
        let text = config.render();
        assert!(text.starts_with(&format!("# {name}\n[Interface]\n")), "{text:?}");
        assert_eq!(as_wg_quick_reads(&text), meant(&config));
    }
}

/// Mass assignment (CVE-2026-29195, CVE-2026-27899): fields that a request does not have cannot be set.
#[test]
fn unknown_fields_in_requests_are_refused() {
    let with = |mut body: Value, field: &str| {
        body[field] = json!("x");
        body
    };
    for field in [
        "id",
        "role",
        "privateKey",
        "private_key",
        "revision",
        "place",
        "transferRx",
        "__proto__",
        "PostUp",
    ] {
        let client = json!({"name": "alice"});
        assert!(
            serde_json::from_value::<NewPeer>(with(client, field)).is_err(),
            "{field}"
        );
    }
    for field in ["token_hash", "agent_token", "public_key", "revision", "postup", "table"] {
        let server = json!({"id": "a", "endpoint": "h:1", "address_pool": ["10.8.0.0/24"]});
        assert!(
            serde_json::from_value::<NewServer>(with(server, field)).is_err(),
            "{field}"
        );
    }
    for field in ["id", "session_epoch", "password_hash", "superuser"] {
        let user = json!({"email": "ops@example.com", "password": "correct horse", "role": "viewer"});
        assert!(serde_json::from_value::<NewUser>(with(user, field)).is_err(), "{field}");
    }
    // Reports from newer agents may have more fields. Counters must be unsigned integers.
    let report = json!({"server_id": "a", "peers": 1, "transfer_rx": 1, "transfer_tx": 1});
    assert!(serde_json::from_value::<Report>(with(report.clone(), "later")).is_ok());
    for huge in [json!(-1), json!(1.5), json!("1"), json!(18_446_744_073_709_551_616.0)] {
        let mut report = report.clone();
        report["transfer_rx"] = huge;
        assert!(serde_json::from_value::<Report>(report).is_err());
    }
}
