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
mod tests;
