//! The plane's configuration: `plane.toml`, overridden by `SENTRAZONE_PLANE_…`.
//!
//! Owns the list of settings, their defaults and their validation. It must not open anything
//! but the configuration file: the state directory, sockets and keys belong to other modules.
//!
//! The setting `key` in table `table` is overridden by the environment variable `SENTRAZONE_PLANE_TABLE_KEY`
//! (`SENTRAZONE_PLANE_LISTEN`, `SENTRAZONE_PLANE_TLS_BEHIND_PROXY`); list items are separated by commas.

mod limits;
mod metrics;
mod settings;
mod tls;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use wgctl::program::log;

pub use limits::Limits;
pub use metrics::Metrics;
pub use settings::SettingError;
use settings::{Settings, not_utf8};
pub use tls::{File, Tls};

/// The configuration file that is read when the command line names none.
pub const DEFAULT_PATH: &str = "/etc/sentrazone/plane.toml";

/// The tables, each with the content that is suggested to someone who has written a value in its place.
const TABLES: [(&str, &str); 3] = [
    ("tls", "mode = \"off\", mode = \"self-signed\" or mode = \"files\""),
    ("limits", "settings such as max_connections = 4096"),
    ("metrics", "settings such as listen = \"127.0.0.1:9586\""),
];

/// The maximum length of a unix socket's path, in bytes: `sun_path` without its terminating null byte (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// An error while loading the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The error from the operating system.
        source: io::Error,
    },
    /// A setting is invalid.
    #[error(transparent)]
    Setting(#[from] SettingError),
}

/// The plane's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The addresses that the REST API listens on; port 0 picks any free port.
    pub listen: Vec<SocketAddr>,
    /// The directory for the database and the keys; created with mode 0700 if missing.
    pub state_dir: PathBuf,
    /// The unix socket for local administration; `None` disables it.
    pub socket: Option<PathBuf>,
    /// The networks of the proxies whose `X-Forwarded-For` headers are trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// The TLS settings for the TCP addresses.
    pub tls: Tls,
    /// True if a TLS proxy is in front, so that plain HTTP is allowed on non-loopback addresses.
    pub behind_proxy: bool,
    /// The time that a change waits for the agent's confirmation before the response says `applied: false`.
    pub apply_timeout: Duration,
    /// The size of the database's page cache, in bytes.
    pub cache_size: usize,
    /// The time for which audit records are kept; `None` keeps them forever.
    pub audit_retention: Option<Duration>,
    /// The limits on callers.
    pub limits: Limits,
    /// Access to the metrics.
    pub metrics: Metrics,
    /// The log filter.
    pub log: log::Filter,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))],
            state_dir: "/var/lib/sentrazone-plane".into(),
            socket: Some("/run/sentrazone/plane.sock".into()),
            trusted_proxies: Vec::new(),
            tls: Tls::default(),
            behind_proxy: false,
            apply_timeout: Duration::from_secs(3),
            cache_size: 64 << 20,
            audit_retention: None,
            limits: Limits::default(),
            metrics: Metrics::default(),
            log: log::Filter::default(),
        }
    }
}

impl Config {
    /// Reads `path`, or [`DEFAULT_PATH`] if it is `None`. Only the default file may be missing.
    pub fn load(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let file = path.unwrap_or(Path::new(DEFAULT_PATH));
        let content = match std::fs::read(file) {
            Ok(content) => content,
            Err(error) if path.is_none() && error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => {
                let path = file.display().to_string();
                return Err(ConfigError::Read { path, source });
            }
        };
        let text = String::from_utf8(content).map_err(|error| not_utf8(file, &error))?;
        Ok(Self::parse(file, &text, environment)?)
    }

    /// Parses the configuration from `text` (the content of `file`) and `environment`.
    pub fn parse(
        file: &Path,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingError> {
        let default = Self::default();
        let mut settings = Settings::parse(file, text, environment)?;
        let listen_place = settings.place_of("listen");
        for (table, content) in TABLES {
            settings.know_table(table, content)?;
        }
        let tls = Tls::take(&mut settings)?;
        let config = Self {
            listen: settings.take_list("listen", default.listen, address)?,
            state_dir: settings.take_with("state_dir", default.state_dir, directory)?,
            socket: settings.take_with("socket", default.socket, socket)?,
            trusted_proxies: settings.take_list("trusted_proxies", default.trusted_proxies, proxy)?,
            tls,
            behind_proxy: settings.take_bool("tls.behind_proxy", default.behind_proxy)?,
            apply_timeout: settings.take_with("apply_timeout", default.apply_timeout, |text| seconds(text, 0, 60))?,
            cache_size: settings.take_with("cache_mib", default.cache_size, |text| {
                bounded(text, "MiB", 1, 65_536).map(|mib| mib << 20)
            })?,
            audit_retention: settings.take_with("audit_retention_days", default.audit_retention, retention)?,
            limits: Limits::take(&mut settings, default.limits)?,
            metrics: Metrics::take(&mut settings)?,
            log: settings.take_with("log", default.log, str::parse)?,
        };
        settings.finish()?;
        config.refuse_twice(&listen_place)?;
        config.refuse_plain_http_in_public(listen_place)?;
        Ok(config)
    }

    /// Refuses an address that is listed twice: binding it a second time would fail at startup.
    fn refuse_twice(&self, place: &str) -> Result<(), SettingError> {
        let listen = &self.listen;
        let again = |(at, address): &(usize, &SocketAddr)| {
            address.port() != 0 && listen.iter().take(*at).any(|before| before == *address)
        };
        match listen.iter().enumerate().find(again) {
            None => Ok(()),
            Some((_, address)) => Err(SettingError {
                place: place.to_owned(),
                message: format!("listen: {address} is listed twice: remove one of them"),
            }),
        }
    }

    fn refuse_plain_http_in_public(&self, place: String) -> Result<(), SettingError> {
        if self.listen.is_empty() && self.socket.is_none() {
            let message = "listen: without an address and a socket, the plane cannot be reached: \
                           add an address like 127.0.0.1:8080";
            return Err(SettingError {
                place,
                message: message.to_owned(),
            });
        }
        match self.listen.iter().find(|address| !address.ip().is_loopback()) {
            Some(address) if self.tls == Tls::Off && !self.behind_proxy => Err(SettingError {
                place,
                message: format!(
                    "listen: {address} is not a loopback address, and passwords would cross the network unencrypted; \
                     set mode = \"self-signed\" or \"files\" under [tls], or put a TLS proxy in front and set \
                     behind_proxy = true there, or listen on 127.0.0.1"
                ),
            }),
            _ => Ok(()),
        }
    }
}

fn directory(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("\"\" is not a directory: write a path such as /var/lib/sentrazone-plane".to_owned()),
        path => Ok(path.into()),
    }
}

/// Parses the path of the local socket; an empty text disables it.
fn socket(text: &str) -> Result<Option<PathBuf>, String> {
    match text.len() {
        0 => Ok(None),
        1..=MAX_SOCKET_PATH => Ok(Some(text.into())),
        length => Err(format!(
            "the path is {length} bytes long, and that of a unix socket can have at most {MAX_SOCKET_PATH}: write a \
             shorter one such as /run/sentrazone/plane.sock"
        )),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not an address with a port: use one such as 127.0.0.1:8080 or [::1]:8080"))
}

fn proxy(text: &str) -> Result<IpNet, String> {
    let alone = |_| text.parse::<IpAddr>().map(IpNet::from);
    text.parse()
        .or_else(alone)
        .map_err(|_| format!("{text:?} is not an address or a network: use one such as 10.0.0.7 or 10.0.0.0/8"))
}

fn bounded(text: &str, unit: &str, least: usize, most: usize) -> Result<usize, String> {
    text.replace('_', "")
        .parse()
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("{text:?} is not a whole number of {unit}: write one from {least} to {most}"))
}

fn changes(text: &str) -> Result<NonZeroU32, String> {
    let number = bounded(text, "changes", 1, 1_000_000)?;
    let number = u32::try_from(number).ok().and_then(NonZeroU32::new);
    number.ok_or_else(|| format!("{text:?} is not a whole number of changes: write one from 1 to 1000000"))
}

/// Parses a number of days; 0 means forever.
fn retention(text: &str) -> Result<Option<Duration>, String> {
    let days = bounded(text, "days", 0, 36_500)?;
    Ok((days > 0).then(|| Duration::from_secs(days as u64 * 86_400)))
}

fn seconds(text: &str, least: usize, most: usize) -> Result<Duration, String> {
    bounded(text, "seconds", least, most).map(|seconds| Duration::from_secs(seconds as u64))
}

#[cfg(test)]
mod tests {
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
}
