//! Property tests of the text format with arbitrary values.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use std::net::IpAddr;

use ipnet::IpNet;

use super::*;
use crate::address::Endpoint;
use crate::key::{PresharedKey, PrivateKey, PublicKey};
use crate::name::PeerName;

fn addresses() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
        any::<u128>().prop_map(|bits| IpAddr::V6(bits.into()))
    ]
}

fn networks() -> impl Strategy<Value = Vec<IpNet>> {
    let network = (addresses(), 0u8..=128)
        .prop_map(|(address, length)| IpNet::new(address, length).unwrap_or_else(|_| IpNet::from(address)));
    prop::collection::vec(network, 0..6)
}

/// Names of every kind that the type accepts, including ones that look like settings or sections.
fn names() -> impl Strategy<Value = PeerName> {
    let text = prop_oneof![
        "\\PC{1,64}",
        "[ -~]{1,64}",
        Just("PostUp = touch /tmp/owned".to_owned()),
        Just("# [Interface]".to_owned()),
        Just("[Peer]".to_owned()),
    ];
    text.prop_filter_map("not a peer name", |text| text.parse().ok())
}

fn endpoints() -> impl Strategy<Value = Endpoint> {
    let host = prop_oneof![
        "[a-z0-9]{1,20}(\\.[a-z0-9]{1,20}){0,3}",
        any::<u128>().prop_map(|bits| format!("[{}]", std::net::Ipv6Addr::from(bits)))
    ];
    (host, 1u16..).prop_filter_map("not an endpoint", |(host, port)| format!("{host}:{port}").parse().ok())
}

prop_compose! {
    fn configs()(
        name in names(),
        private_key in prop::option::of(any::<[u8; 32]>().prop_map(PrivateKey::from_bytes)),
        addresses in networks(),
        dns in prop::collection::vec(addresses(), 0..4),
        mtu in prop::option::of(any::<u16>()),
        public_key in any::<[u8; 32]>().prop_filter_map("zero", |bytes| PublicKey::from_bytes(bytes).ok()),
        preshared_key in prop::option::of(any::<[u8; 32]>().prop_filter_map("zero", |bytes| PresharedKey::from_bytes(bytes).ok())),
        allowed_ips in networks(),
        endpoint in endpoints(),
        persistent_keepalive in prop::option::of(1u16..),
    ) -> PeerConfig {
        PeerConfig { name, private_key, addresses, dns, mtu, public_key, preshared_key, allowed_ips, endpoint, persistent_keepalive }
    }
}

const KEYS: [&str; 9] = [
    "PrivateKey",
    "Address",
    "DNS",
    "MTU",
    "PublicKey",
    "PresharedKey",
    "AllowedIPs",
    "Endpoint",
    "PersistentKeepalive",
];

proptest! {
    #[test]
    fn rendered_text_parses_to_the_same_configuration(config in configs()) {
        let text = config.render();
        prop_assert_eq!(text.parse::<PeerConfig>().unwrap(), config);
        prop_assert!(text.ends_with('\n'));
    }

    #[test]
    fn no_value_can_start_a_new_line(config in configs()) {
        let text = config.render();
        for line in text.split(['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}']) {
            let known = line.is_empty()
                || line.starts_with("# ")
                || matches!(line, "[Interface]" | "[Peer]")
                || line.split_once(" = ").is_some_and(|(key, _)| KEYS.contains(&key));
            prop_assert!(known, "{:?}", line);
        }
    }

    #[test]
    fn the_buffer_never_grows(config in configs()) {
        prop_assert!(config.render().len() <= config.size_bound());
    }

    #[test]
    fn any_text_parses_or_fails_with_a_line_number(text in "(?s).{0,300}") {
        if let Err(error) = WgQuick::parse(&text) {
            prop_assert!(error.line >= 1 && error.line <= text.lines().count());
        }
    }

    #[test]
    fn arbitrary_settings_never_panic(lines in prop::collection::vec(("[A-Za-z]{1,12}|PrivateKey|Address|AllowedIPs|FwMark|Endpoint|DNS", "\\PC{0,60}"), 0..12)) {
        let text: String = lines.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        let _ = WgQuick::parse(&format!("[Interface]\n{text}"));
        let _ = WgQuick::parse(&format!("[Peer]\n{text}"));
    }
}

fn sample() -> PeerConfig {
    PeerConfig {
        name: "alice-iphone".parse().unwrap(),
        private_key: Some(PrivateKey::from_bytes([1; 32])),
        addresses: vec!["10.8.0.2/32".parse().unwrap(), "fd00:8::2/128".parse().unwrap()],
        dns: vec!["1.1.1.1".parse().unwrap()],
        mtu: Some(1420),
        public_key: PrivateKey::from_bytes([2; 32]).public_key(),
        preshared_key: Some(PresharedKey::from_bytes([3; 32]).unwrap()),
        allowed_ips: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()],
        endpoint: "vpn.example.com:51820".parse().unwrap(),
        persistent_keepalive: Some(25),
    }
}

#[test]
fn the_text_looks_like_a_handwritten_wg_quick_file() {
    let expected = "\
# alice-iphone
[Interface]
PrivateKey = AAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAUE=
Address = 10.8.0.2/32, fd00:8::2/128
DNS = 1.1.1.1
MTU = 1420

[Peer]
PublicKey = zo060cy2M+x7cMF4FKXHbs0CloUFDTRHRboFhw5YfVk=
PresharedKey = AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=
AllowedIPs = 0.0.0.0/0, ::/0
Endpoint = vpn.example.com:51820
PersistentKeepalive = 25
";
    assert_eq!(sample().render().as_str(), expected);
}

#[test]
fn a_device_that_keeps_its_key_gets_a_comment_in_its_place() {
    let config = PeerConfig {
        private_key: None,
        persistent_keepalive: Some(0),
        ..sample()
    };
    let text = config.render();
    assert!(text.contains("[Interface]\n# PrivateKey = the one that this device generated\nAddress"));
    assert!(!text.contains("PersistentKeepalive"));
    assert_eq!(
        text.parse::<PeerConfig>().unwrap(),
        PeerConfig {
            persistent_keepalive: None,
            ..config
        }
    );
}

#[test]
fn wg_quick_strip_accepts_the_text() {
    let path = std::env::temp_dir().join(format!("sz{}.conf", std::process::id()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .unwrap();
    file.write_all(sample().render().as_bytes()).unwrap();
    let stripped = Command::new("wg-quick")
        .arg("strip")
        .arg(&path)
        .stderr(Stdio::inherit())
        .output();
    std::fs::remove_file(&path).unwrap();
    let Ok(stripped) = stripped else {
        writeln!(std::io::stderr(), "not run: wg-quick is not installed").unwrap();
        return;
    };
    assert!(stripped.status.success());
    let left = String::from_utf8(stripped.stdout).unwrap();
    for key in [
        "PrivateKey",
        "PublicKey",
        "PresharedKey",
        "AllowedIPs",
        "Endpoint",
        "PersistentKeepalive",
    ] {
        assert!(left.contains(key), "{key} is missing in {left}");
    }
    for key in ["Address", "DNS", "MTU"] {
        assert!(!left.contains(key), "{key} is left in {left}");
    }
}

#[test]
fn a_server_file_is_parsed_with_all_its_peers_and_unusual_settings() {
    let text = "\u{feff}[interface]\r\nprivatekey=AAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAUE= # mine\r\nListenPort = 51820\nFwMark = 0xca6c\n\
                Address = 10.8.0.1/24\nAddress = fd00::1\nDNS = 1.1.1.1, corp.example\nTable = off\nPostUp = iptables -A x\nBogus = 1\n\
                [PEER]\nPublicKey = zo060cy2M+x7cMF4FKXHbs0CloUFDTRHRboFhw5YfVk=\nAllowedIPs = 10.8.0.2, fd00::2/128\nAllowedIPs =\nPersistentKeepalive = off\n\
                PresharedKey = AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n[Peer]\nPublicKey = AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=\n";
    let file = WgQuick::parse(text).unwrap();
    let interface = &file.interface;
    assert_eq!(interface.private_key, Some(PrivateKey::from_bytes([1; 32])));
    assert_eq!((interface.listen_port, interface.fwmark), (Some(51820), Some(0xca6c)));
    assert_eq!(
        interface.addresses,
        ["10.8.0.1/24".parse::<IpNet>().unwrap(), "fd00::1/128".parse().unwrap()]
    );
    assert_eq!(interface.search_domains, ["corp.example"]);
    let refused: Vec<_> = interface
        .directives
        .iter()
        .map(|d| (d.line, d.key.as_str(), d.refusal))
        .collect();
    assert_eq!(
        refused,
        [
            (8, "Table", Refusal::WgQuickOnly),
            (9, "PostUp", Refusal::Command),
            (10, "Bogus", Refusal::Unknown)
        ]
    );
    assert_eq!(file.peers.len(), 2);
    assert_eq!(file.peers[0].allowed_ips.len(), 2);
    assert_eq!(
        (&file.peers[0].preshared_key, file.peers[0].persistent_keepalive),
        (&None, None)
    );
}

#[test]
fn errors_name_the_line_but_never_show_a_key() {
    let private = "iEoyG5bD0eJfQ9ZbWqgs8nD9W2E4yBmDq0VxgJwqyU";
    for (text, line) in [
        (format!("[Interface]\nPrivateKey = {private}"), 2),
        (format!("[Peer]\n\nPresharedKey = {private}\n"), 3),
        ("MTU = 1420".to_owned(), 1),
        ("[Interface]\nMTU = many".to_owned(), 2),
        ("[Interface]\nMTU = 1\nMTU = 2".to_owned(), 3),
        ("[Interface]\n[Interface]".to_owned(), 2),
        ("[Interfaces]".to_owned(), 1),
        ("[Interface]\nAddress = 10.0.0.1/33".to_owned(), 2),
        ("[Interface]\n\n[Peer]\nEndpoint = a:1\n".to_owned(), 3),
        ("[Interface]\nnothing".to_owned(), 2),
    ] {
        let error = WgQuick::parse(&text).unwrap_err();
        assert_eq!(error.line, line, "{text:?}: {error}");
        assert!(!error.to_string().contains(private), "{error}");
    }
}

#[test]
fn debug_shows_neither_keys_nor_commands() {
    let shown = format!("{:?}", sample());
    assert!(!shown.contains("AAEB") && !shown.contains("AwMD"), "{shown}");
    let shown = format!("{:?}", WgQuick::parse("[Interface]\nPostUp = wg set secret").unwrap());
    assert!(!shown.contains("secret"), "{shown}");
}
