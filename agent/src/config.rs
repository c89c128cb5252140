//! `agent.toml`: what the agent must be told.
//!
//! Owns its keys, defaults, the override by environment (`SENTRAZONE_AGENT_<KEY>`) and what is
//! wrong with it. It binds nothing and opens nothing but what a setting names to be read.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::{Host, Url};
use wgctl::Pin;
use wgctl::api::base_url;
use wgctl::client::Trust;
use wgctl::program::log::Filter;
use wgctl::program::metrics::check_listen;

/// Where the configuration is when nothing else is said.
pub const DEFAULT_PATH: &str = "/etc/sentrazone/agent.toml";
const ENVIRONMENT: &str = "SENTRAZONE_AGENT_";
/// Where systemd puts what `LoadCredential=` names (systemd.exec(5)).
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// The token among them. The unit takes it from the configuration's `token_file`, so it goes before that.
const TOKEN_CREDENTIAL: &str = "agent.token";

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("{}: {source}: enroll this host first (`sentrazone-agent enroll --help`)", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The certificates to trust cannot be read.
    #[error("ca_file: {}: {source}", path.display())]
    Certificates {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what it must be; the message has the line.
    #[error("{}: {message}", path.display())]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Where and what.
        message: String,
    },
    /// A value makes no sense.
    #[error("{key}: {message}")]
    Value {
        /// Which.
        key: &'static str,
        /// What to write instead.
        message: String,
    },
}

/// Who holds the interface.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// The kernel.
    #[default]
    Kernel,
    /// A userspace process (wireguard-go, boringtun) that was started by others.
    Userspace,
}

/// The agent's configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Planes to dial, tried in turn. At least one; empty only until it is checked.
    #[serde(default)]
    pub plane: Vec<Url>,
    /// The file that holds the agent's token.
    #[serde(default = "default_token_file")]
    pub token_file: PathBuf,
    /// Certificates (PEM) to trust beside the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The planes' keys, one or more: what they show must be one of these, and no authority is asked.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "write_pins",
        deserialize_with = "read_pins"
    )]
    pub pin: Vec<Pin>,
    /// Where secrets and cache are kept.
    #[serde(default = "default_state_dir")]
    pub state_dir: PathBuf,
    /// Seconds between reports, which are also the checks of the interface; 1 to 3600.
    #[serde(default = "default_report_interval")]
    pub report_interval: u32,
    /// Who holds the interface.
    #[serde(default)]
    pub backend: Backend,
    /// Whether a plane may be dialled without TLS on other machines.
    #[serde(default)]
    pub allow_plaintext: bool,
    /// Where the metrics are shown, plain and without a token; absent or empty for nowhere.
    #[serde(default, with = "address", skip_serializing_if = "Option::is_none")]
    pub metrics_listen: Option<SocketAddr>,
    /// Whether `metrics_listen` may be more than a loopback address.
    #[serde(default, skip_serializing_if = "is_default")]
    pub metrics_expose: bool,
    /// What is logged.
    #[serde(default, with = "filter", skip_serializing_if = "is_default")]
    pub log: Filter,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// An address, or an empty text for none.
mod address {
    use std::net::SocketAddr;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(address: &Option<SocketAddr>, serializer: S) -> Result<S::Ok, S::Error> {
        address.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(None);
        }
        let wanted = |error| format!("{text:?}: {error}; write an address like 127.0.0.1:9587");
        text.parse()
            .map(Some)
            .map_err(|error| serde::de::Error::custom(wanted(error)))
    }
}

/// What is logged, as text.
mod filter {
    use serde::{Deserialize as _, Deserializer, Serializer};
    use wgctl::program::log::Filter;

    pub(super) fn serialize<S: Serializer>(filter: &Filter, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(filter.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Filter, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

fn write_pins<S: Serializer>(pins: &[Pin], serializer: S) -> Result<S::Ok, S::Error> {
    match pins {
        [one] => one.serialize(serializer),
        pins => pins.serialize(serializer),
    }
}

fn read_pins<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Pin>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Pins {
        One(String),
        Many(Vec<String>),
    }
    let texts = match Pins::deserialize(deserializer)? {
        Pins::One(text) => vec![text],
        Pins::Many(texts) => texts,
    };
    let pins = texts.iter().map(|text| text.parse());
    pins.collect::<Result<_, _>>().map_err(serde::de::Error::custom)
}

fn default_token_file() -> PathBuf {
    "/etc/sentrazone/agent.token".into()
}

fn default_state_dir() -> PathBuf {
    "/var/lib/sentrazone-agent".into()
}

const fn default_report_interval() -> u32 {
    15
}

impl Config {
    /// A configuration for these planes, everything else by default.
    #[must_use]
    pub fn new(plane: Vec<Url>) -> Self {
        Self {
            plane,
            token_file: default_token_file(),
            ca_file: None,
            pin: Vec::new(),
            state_dir: default_state_dir(),
            report_interval: default_report_interval(),
            backend: Backend::default(),
            allow_plaintext: false,
            metrics_listen: None,
            metrics_expose: false,
            log: Filter::default(),
        }
    }

    /// Reads the file, then the environment over it, and checks the whole.
    pub fn load(path: &Path, environment: impl Iterator<Item = (String, String)>) -> Result<Self, Error> {
        let config = Self::read(path, environment)?;
        config.check()?;
        Ok(config)
    }

    /// Reads the file, then the environment over it; whether it makes sense is not asked.
    pub fn read(path: &Path, environment: impl Iterator<Item = (String, String)>) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::File {
            path: path.to_owned(),
            source,
        })?;
        let syntax = |error: toml::de::Error| Error::Syntax {
            path: path.to_owned(),
            message: error.to_string(),
        };
        // Once as it is, so that what is wrong is told with its line.
        toml::from_str::<Self>(&text).map_err(syntax)?;
        let mut table: toml::Table = toml::from_str(&text).map_err(syntax)?;
        let environment: Vec<(String, String)> = environment.collect();
        let credentials = environment.iter().find(|(name, _)| name == CREDENTIALS);
        let token = credentials.map(|(_, folder)| Path::new(folder).join(TOKEN_CREDENTIAL));
        if let Some(token) = token.filter(|token| token.exists()) {
            let path = token.to_string_lossy().into_owned();
            table.insert("token_file".to_owned(), toml::Value::String(path));
        }
        for (name, value) in environment {
            if let Some(key) = name.strip_prefix(ENVIRONMENT) {
                table.insert(key.to_lowercase(), environment_value(&value));
            }
        }
        table.try_into().map_err(|error: toml::de::Error| Error::Value {
            key: "environment",
            message: format!("{} (in a variable {ENVIRONMENT}…)", error.message()),
        })
    }

    /// Whether the values make sense together.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |key, message: String| Err(Error::Value { key, message });
        if self.plane.is_empty() {
            return wrong(
                "plane",
                "name at least one plane, like [\"https://plane.example.com\"]".to_owned(),
            );
        }
        for url in &self.plane {
            base_url(url.as_str()).map_err(|message| Error::Value { key: "plane", message })?;
            if url.scheme() == "http" && !self.allow_plaintext && !is_loopback(url) {
                return wrong(
                    "plane",
                    format!(
                        "{url} would send the token unencrypted: use https, or set allow_plaintext = true (enroll: --allow-plaintext)"
                    ),
                );
            }
        }
        if let Some(url) = self.plane.iter().find(|url| url.scheme() == "http")
            && !self.pin.is_empty()
        {
            return wrong("pin", format!("{url} is plain http and shows no key: use https"));
        }
        if self.ca_file.is_some() && !self.pin.is_empty() {
            return wrong(
                "pin",
                "with ca_file it is one too many: a pinned key needs no authority".to_owned(),
            );
        }
        if let Some(Err(reason)) = self
            .metrics_listen
            .map(|address| check_listen(address, self.metrics_expose))
        {
            return wrong(
                "metrics_listen",
                format!("{reason}: set metrics_expose = true if that is meant"),
            );
        }
        if !(1..=3600).contains(&self.report_interval) {
            return wrong(
                "report_interval",
                format!("{} is not between 1 and 3600 seconds", self.report_interval),
            );
        }
        Ok(())
    }

    /// How the planes are known. Reads `ca_file` where there is one.
    pub fn trust(&self) -> Result<Trust, Error> {
        if !self.pin.is_empty() {
            return Ok(Trust::Pins(self.pin.clone()));
        }
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|source| Error::Certificates {
                path: path.clone(),
                source,
            })
        };
        Ok(Trust::Authorities(self.ca_file.as_ref().map(read).transpose()?))
    }
}

/// A variable's value as TOML where it is TOML, else as text.
fn environment_value(text: &str) -> toml::Value {
    let parsed = toml::from_str::<toml::Table>(&format!("value = {text}")).ok();
    let value = parsed.and_then(|mut table| table.remove("value"));
    value.unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        std::fs::write(&path, text).unwrap();
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(&path, environment).map_err(|error| error.to_string())
    }

    #[test]
    fn only_the_plane_must_be_named() {
        let config = load("plane = [\"https://plane.example.com\"]", &[]).unwrap();
        assert_eq!((config.report_interval, config.backend), (15, Backend::Kernel));
        assert!(load("", &[]).unwrap_err().contains("name at least one plane"));
        let environment = [("SENTRAZONE_AGENT_PLANE", "[\"https://plane.example.com\"]")];
        assert_eq!(load("", &environment).unwrap().plane, config.plane);
    }

    #[test]
    fn a_pin_is_one_or_several_and_goes_without_authorities() {
        let pin = Pin::of_public_key(b"x");
        let plane = "plane = [\"https://plane.example.com\"]\n";
        let one = load(&format!("{plane}pin = \"{pin}\""), &[]).unwrap();
        assert_eq!(one.pin, [pin]);
        assert!(toml::to_string(&one).unwrap().contains(&format!("pin = \"{pin}\"")));
        let two = load(&format!("{plane}pin = [\"{pin}\", \"{pin}\"]"), &[]).unwrap();
        assert_eq!(two.pin, [pin, pin]);
        assert!(matches!(two.trust(), Ok(Trust::Pins(pins)) if pins.len() == 2));
        let error = load(&format!("{plane}pin = \"sha256:00\""), &[]).unwrap_err();
        assert!(
            error.contains("line 2") && error.contains("64 hexadecimal digits"),
            "{error}"
        );
        let both = load(&format!("{plane}pin = \"{pin}\"\nca_file = \"/ca.pem\""), &[]);
        assert!(both.unwrap_err().contains("one too many"));
        let plain = load(&format!("plane = [\"http://127.0.0.1:8080\"]\npin = \"{pin}\""), &[]);
        assert!(plain.unwrap_err().contains("shows no key"));
    }

    #[test]
    fn an_unknown_key_is_told_with_its_line() {
        let error = load("plane = [\"https://plane.example.com\"]\nreport_intervall = 3\n", &[]).unwrap_err();
        assert!(
            error.contains("line 2") && error.contains("report_intervall"),
            "{error}"
        );
    }

    #[test]
    fn the_environment_goes_before_the_file() {
        let text = "plane = [\"https://plane.example.com\"]";
        let environment = [
            ("SENTRAZONE_AGENT_REPORT_INTERVAL", "3"),
            ("SENTRAZONE_AGENT_STATE_DIR", "/srv/state"),
        ];
        let config = load(text, &environment).unwrap();
        assert_eq!((config.report_interval, config.state_dir), (3, "/srv/state".into()));
        assert!(load(text, &[("SENTRAZONE_AGENT_REPORT_INTERVAL", "soon")]).is_err());
        assert!(load(text, &[("SENTRAZONE_AGENT_NO_SUCH_KEY", "1")]).is_err());
    }

    #[test]
    fn a_token_that_systemd_passes_on_goes_before_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let text = "plane = [\"https://plane.example.com\"]\ntoken_file = \"/etc/token\"";
        let credentials = [("CREDENTIALS_DIRECTORY", folder.path().to_str().unwrap())];
        assert_eq!(load(text, &credentials).unwrap().token_file, Path::new("/etc/token"));
        let credential = folder.path().join("agent.token");
        std::fs::write(&credential, "token").unwrap();
        assert_eq!(load(text, &credentials).unwrap().token_file, credential);
    }

    #[test]
    fn a_token_is_not_sent_unencrypted_over_a_network() {
        assert!(
            load("plane = [\"http://plane.example.com\"]", &[])
                .unwrap_err()
                .contains("allow_plaintext")
        );
        assert!(load("plane = [\"http://plane.example.com\"]\nallow_plaintext = true", &[]).is_ok());
        let shown = "plane = [\"https://x\"]\nmetrics_listen = \"[::]:9587\"\nmetrics_expose = true\nlog = \"debug\"";
        assert!(load(shown, &[]).unwrap().metrics_listen.is_some());
        for loopback in ["http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080"] {
            assert!(load(&format!("plane = [\"{loopback}\"]"), &[]).is_ok(), "{loopback}");
        }
        for bad in [
            "plane = []",
            "plane = [\"ftp://x\"]",
            "plane = [\"https://x\"]\nreport_interval = 0",
            "plane = [\"https://x\"]\nmetrics_listen = \"9587\"",
            "plane = [\"https://x\"]\nmetrics_listen = \"0.0.0.0:9587\"",
            "plane = [\"https://x\"]\nlog = \"loud\"",
        ] {
            assert!(load(bad, &[]).is_err(), "{bad}");
        }
    }
}
