//! Tests of the configuration: defaults, sources, and the errors for values that cannot be used.

use super::*;

fn parse(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse(Path::new("plane.toml"), text, environment).map_err(|error| error.to_string())
}

#[test]
fn an_empty_file_yields_the_defaults() {
    assert_eq!(parse("", &[]).unwrap(), Config::default());
}

#[test]
fn every_documented_setting_is_understood() {
    let text = r#"
        listen = "127.0.0.1:0"
        state_dir = "/tmp/state"
        socket = ""
        trusted_proxies = ["10.0.0.0/8", "fd00::/8", "192.0.2.7"]
        apply_timeout = 5
        log = "warn,sentrazone_plane=debug"
        cache_mib = 16
        audit_retention_days = 365
        [tls]
        mode = "off"
        behind_proxy = true
        [limits]
        max_body = 4_096
        max_agent_body = 8192
        max_head = 8192
        max_url = 2048
        max_connections = 10
        max_connections_per_address = 5
        header_timeout = 1
        body_timeout = 2
        min_body_rate = 100
        writes_per_second = 7
        write_burst = 8
        shutdown_timeout = 3
        [metrics]
        listen = "127.0.0.1:0"
        expose = false
        per_peer = true
    "#;
    let config = parse(text, &[]).unwrap();
    assert_eq!(config.listen, ["127.0.0.1:0".parse().unwrap()]);
    assert_eq!(config.socket, None);
    assert_eq!(config.trusted_proxies.len(), 3);
    assert_eq!(config.trusted_proxies[2], "192.0.2.7/32".parse().unwrap());
    assert!(config.behind_proxy);
    assert_eq!((config.cache_size, config.limits.max_body), (16 << 20, 4096));
    assert_eq!(config.limits.shutdown_timeout, Duration::from_secs(3));
    let writes = (config.limits.writes_per_second.get(), config.limits.write_burst.get());
    assert_eq!(writes, (7, 8));
    assert_eq!(config.audit_retention, Some(Duration::from_secs(365 * 86_400)));
    assert!(config.metrics.per_peer && config.metrics.listen.is_some());
    assert_eq!(config.log.as_str(), "warn,sentrazone_plane=debug");
}

#[test]
fn the_environment_overrides_the_file() {
    let config = parse(
        "listen = \"127.0.0.1:1\"",
        &[
            ("SENTRAZONE_PLANE_LISTEN", "127.0.0.1:2, [::1]:2"),
            ("SENTRAZONE_PLANE_LIMITS_MAX_BODY", "2048"),
            ("PATH", "/bin"),
        ],
    )
    .unwrap();
    assert_eq!(
        config.listen,
        ["127.0.0.1:2".parse().unwrap(), "[::1]:2".parse().unwrap()]
    );
    assert_eq!(config.limits.max_body, 2048);
}

#[test]
fn an_error_names_the_setting_and_its_line() {
    for (text, place, word) in [
        ("\nlisten = \"nowhere\"", "plane.toml:2: listen", "nowhere"),
        (
            "state_dir = \"/x\"\nlissten = 1",
            "plane.toml:2: lissten",
            "no such setting; did you mean listen?",
        ),
        (
            "[metric]\nlisten = \"127.0.0.1:1\"",
            "plane.toml:2: metric.listen",
            "did you mean metrics.listen?",
        ),
        (
            "max_body = 5000",
            "plane.toml:1: max_body",
            "did you mean limits.max_body?",
        ),
        (
            "trusted_proxies = [\"x\"]",
            "plane.toml:1: trusted_proxies: \"x\"",
            "10.0.0.0/8",
        ),
        (
            "listen = [\"127.0.0.1:1\", \"127.0.0.1:1\"]",
            "plane.toml:1: listen",
            "127.0.0.1:1 is listed twice",
        ),
        (
            "[tls]\nmode = \"self-signed\"\nnames = [\"a b\"]",
            "plane.toml:3: tls.names: \"a b\"",
            "plane.example.com",
        ),
        ("[tls]\nmode = \"files\"", "plane.toml:2: tls.mode", "cert"),
        (
            "[metrics]\nlisten = \"0.0.0.0:9586\"",
            "plane.toml:2: metrics.listen",
            "expose = true",
        ),
        ("log = \"loud\"", "plane.toml:1: log", "write error, warn"),
        ("\n\n[extra]\n", "plane.toml:3: extra", "no such setting"),
        (
            "listen = \"127.0.0.1\"",
            "plane.toml:1: listen: \"127.0.0.1\"",
            "with a port",
        ),
        ("listen = \"0.0.0.0:80\"", "plane.toml:1: listen", "behind_proxy"),
        ("listen = []\nsocket = ''", "plane.toml:1: listen", "cannot be reached"),
        ("apply_timeout = -1", "plane.toml:1: apply_timeout", "0 to 60"),
        ("apply_timeout = [1]", "plane.toml:1: apply_timeout", "not a list"),
        ("listen = \"127.0.0.1:0\"\nlisten = 1", "plane.toml:2", "duplicate"),
        (
            "listen =",
            "plane.toml:1: listen: this line is not valid TOML",
            "key = value",
        ),
        ("listen", "plane.toml:1: this line is not valid TOML", "key = value"),
        (
            "tls = \"self-signed\"",
            "plane.toml:1: tls: a table belongs here",
            "[tls] on a line of its own, and below it mode = \"off\", mode = \"self-signed\" or mode = \"files\"",
        ),
        ("limits = 100", "plane.toml:1: limits", "[limits]"),
        ("metrics = []", "plane.toml:1: metrics", "[metrics]"),
    ] {
        let error = parse(text, &[]).unwrap_err();
        assert!(error.starts_with(place) && error.contains(word), "{text:?}: {error}");
    }
    let error = parse("", &[("SENTRAZONE_PLANE_LISTENN", "x")]).unwrap_err();
    assert!(
        error.starts_with("SENTRAZONE_PLANE_LISTENN:") && error.ends_with("did you mean SENTRAZONE_PLANE_LISTEN?"),
        "{error}"
    );
    let error = parse("", &[("SENTRAZONE_PLANE_FOO", "x")]).unwrap_err();
    assert!(error.ends_with("to override"), "{error}");
}

#[test]
fn every_setting_refuses_a_bad_value_in_the_planes_own_words() {
    for (table, key, value, words) in [
        ("", "listen", "\"host\"", "use one such as 127.0.0.1:8080"),
        ("", "state_dir", "[\"/x\"]", "write one value"),
        ("", "state_dir", "\"\"", "such as /var/lib/sentrazone-plane"),
        ("", "socket", "[\"/x\"]", "write one value"),
        ("", "trusted_proxies", "\"10.0.0.0/40\"", "use one such as 10.0.0.7"),
        ("", "apply_timeout", "61", "write one from 0 to 60"),
        ("", "log", "\"sentrazone_plane=loud\"", "write error, warn"),
        ("", "cache_mib", "\"64M\"", "write one from 1 to 65536"),
        ("", "audit_retention_days", "1.5", "write one from 0 to 36500"),
        ("tls", "mode", "\"on\"", "use \"off\""),
        ("tls", "behind_proxy", "\"yes\"", "is neither true nor false"),
        ("tls", "cert", "\"/c.pem\"", "set that mode"),
        ("tls", "key", "\"/k.pem\"", "set that mode"),
        ("tls", "names", "[\"a b\"]", "use one such as plane.example.com"),
        ("limits", "max_body", "1", "write one from 1024"),
        ("limits", "max_agent_body", "1", "write one from 1024"),
        ("limits", "max_head", "1", "write one from 4096 to 65536"),
        ("limits", "max_url", "1", "write one from 1024 to 65536"),
        ("limits", "max_connections", "0", "write one from 1 to 1000000"),
        (
            "limits",
            "max_connections_per_address",
            "-1",
            "write one from 1 to 1000000",
        ),
        ("limits", "header_timeout", "\"30s\"", "whole number of seconds"),
        ("limits", "body_timeout", "0", "write one from 1 to 600"),
        ("limits", "min_body_rate", "true", "bytes per second"),
        ("limits", "writes_per_second", "0", "whole number of changes"),
        ("limits", "write_burst", "0", "whole number of changes"),
        ("limits", "shutdown_timeout", "601", "write one from 0 to 600"),
        ("metrics", "listen", "\"9586\"", "use one such as 127.0.0.1:9586"),
        ("metrics", "expose", "1", "is neither true nor false"),
        ("metrics", "per_peer", "\"on\"", "is neither true nor false"),
    ] {
        let (head, path) = match table {
            "" => (String::new(), key.to_owned()),
            table => (format!("[{table}]\n"), format!("{table}.{key}")),
        };
        let error = parse(&format!("{head}{key} = {value}\n"), &[]).unwrap_err();
        let named = error.split_once(": ").is_some_and(|(_, rest)| rest.starts_with(&path));
        assert!(named && error.contains(words), "{path}: {error}");
        for foreign in ["provided string", "invalid digit", "syntax", "expected"] {
            assert!(!error.contains(foreign), "{path}: {error}");
        }
    }
    let error = parse("\nlisten = nowhere", &[]).unwrap_err();
    assert!(
        error.starts_with("plane.toml:2: listen: ") && error.contains("text in double quotes"),
        "{error}"
    );
}

#[test]
fn a_socket_path_that_is_too_long_to_be_bound_is_refused() {
    let with_length = |length: usize| {
        let path = "/".repeat(length);
        parse(&format!("socket = \"{path}\""), &[])
    };
    assert!(with_length(107).is_ok_and(|config| config.socket.is_some()));
    let error = with_length(108).unwrap_err();
    assert!(
        error.starts_with("plane.toml:1: socket: ") && error.contains("108 bytes") && error.contains("at most 107"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_not_utf_8_is_refused_with_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plane.toml");
    let utf_16: Vec<u8> = "\u{feff}log = 3".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (content, line) in [(&utf_16[..], 1), (b"# a\n# caf\xe9\n", 2), (b"\n\n\xff", 3)] {
        std::fs::write(&path, content).unwrap();
        let error = Config::load(Some(&path), []).unwrap_err().to_string();
        let place = format!("plane.toml:{line}: ");
        assert!(error.contains(&place) && error.contains("save the file"), "{error}");
    }
    // Editors on Windows begin a file with a byte order mark.
    std::fs::write(&path, "\u{feff}log = \"warn\"\r\n").unwrap();
    assert_eq!(Config::load(Some(&path), []).unwrap().log.as_str(), "warn");
}

#[test]
fn each_tls_mode_accepts_only_its_own_settings() {
    let public = |tls: &str| parse(&format!("listen = \"0.0.0.0:8443\"\n[tls]\n{tls}"), &[]);
    let named = public("mode = \"self-signed\"\nnames = [\"plane.example.com\"]").unwrap();
    let names = vec!["plane.example.com".to_owned()];
    assert_eq!(named.tls, Tls::SelfSigned { names });
    let files = public("mode = \"files\"\ncert = \"/c.pem\"\nkey = \"/k.pem\"").unwrap();
    let file = |path: &str, named_at: &str| File {
        path: path.into(),
        named_at: named_at.to_owned(),
    };
    let (cert, key) = (
        file("/c.pem", "plane.toml:4: tls.cert"),
        file("/k.pem", "plane.toml:5: tls.key"),
    );
    assert_eq!(files.tls, Tls::Files { cert, key });
    for (text, place) in [
        ("mode = \"files\"\nkey = \"/k.pem\"", ":3: tls.mode"),
        ("mode = \"files\"\ncert = \"/c.pem\"", ":3: tls.mode"),
        ("mode = \"self-signed\"\ncert = \"/c.pem\"", ":4: tls.cert"),
        (
            "mode = \"files\"\ncert = \"/c\"\nkey = \"/k\"\nnames = [\"x\"]",
            ":6: tls.names",
        ),
        ("key = \"/k.pem\"", ":3: tls.key"),
        ("names = [\"x\"]", ":3: tls.names"),
        ("mode = \"on\"", ":3: tls.mode"),
    ] {
        let error = public(text).unwrap_err();
        assert!(error.starts_with(&format!("plane.toml{place}")), "{text}: {error}");
    }
}

#[test]
fn plain_http_is_allowed_beyond_loopback_only_behind_a_proxy() {
    assert!(parse("listen = \"0.0.0.0:80\"\n[tls]\nbehind_proxy = true", &[]).is_ok());
    assert!(parse("", &[("SENTRAZONE_PLANE_LISTEN", "[::]:80")]).is_err());
}

#[test]
fn only_the_default_file_may_be_missing() {
    let missing = Config::load(Some(Path::new("/nonexistent/plane.toml")), []);
    assert!(matches!(missing, Err(ConfigError::Read { .. })));
}
