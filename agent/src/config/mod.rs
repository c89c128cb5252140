//! `agent.toml`: the configuration of the agent.
//!
//! Owns the settings, their defaults, and the precedence of environment variables (`SENTRAZONE_AGENT_<SETTING>`)
//! over the file. It must not bind any address, or open any file except `agent.toml` itself and `ca_file`.

mod check;
mod settings;
mod token;

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;

use ipnet::IpNet;
use serde::{Serialize, Serializer};
use url::Url;
use wgctl::Pin;
use wgctl::client::Trust;
use wgctl::program::log::Filter;

use settings::Settings;
pub use token::TokenFault;
pub(crate) use token::parse_token;

/// The default path of the configuration file.
pub const DEFAULT_PATH: &str = "/etc/sentrazone/agent.toml";
const ENVIRONMENT: &str = "SENTRAZONE_AGENT_";
/// The variable that names the directory with the credentials from `LoadCredential=` (systemd.exec(5)).
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// The credential that holds the token. It takes precedence over `token_file`, from which the unit loads it.
const TOKEN_CREDENTIAL: &str = "agent.token";
/// The line with which a certificate in PEM begins (RFC 7468, section 5.1).
const BEGIN_CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// An error that makes the configuration unusable.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error(
        "{}: {source}: {}", path.display(),
        match source.kind() {
            ErrorKind::NotFound => "enroll this host first (`sentrazone-agent enroll --help`)",
            _ => "make it readable by the agent's user, or run the command as root",
        }
    )]
    File {
        /// The file.
        path: PathBuf,
        /// The error from the operating system.
        source: io::Error,
    },
    /// The trusted certificates cannot be read.
    #[error("ca_file: {}: {source}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// The error from the operating system.
        source: io::Error,
    },
    /// The file with the trusted certificates contains none.
    #[error(
        "ca_file: {} contains no certificate: it must contain a PEM block that begins with -----BEGIN CERTIFICATE----- \
         (`openssl x509 -inform der` converts a certificate in DER)", .0.display()
    )]
    NoCertificate(PathBuf),
    /// The file is not UTF-8.
    #[error("{}: line {line}: this line is not UTF-8 text: save the file in the encoding UTF-8", path.display())]
    Encoding {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// The file is not TOML.
    #[error(
        "{}: line {line}, column {column}: this is not TOML: write one setting per line, like report_interval = 15, \
         with text in double quotes and lists in square brackets, and do not repeat a setting", path.display()
    )]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
    },
    /// A setting is unknown, or its value has the wrong form.
    #[error("{origin}: {key}: {message}")]
    Setting {
        /// The origin of the setting: the file and line, or the variable.
        origin: String,
        /// The setting.
        key: String,
        /// The problem, and an example of a valid value.
        message: String,
    },
    /// A value is out of range or contradicts another setting.
    #[error("{key}: {message}")]
    Value {
        /// The setting.
        key: &'static str,
        /// The problem, and an example of a valid value.
        message: String,
    },
}

/// The WireGuard implementation that provides the interface.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// The kernel module.
    #[default]
    Kernel,
    /// A userspace process (wireguard-go, boringtun) that is started separately.
    Userspace,
}

/// The agent's configuration.
#[derive(Debug, Clone, Serialize)]
pub struct Config {
    /// The URLs of the planes, which are tried in turn. Not empty after [`Config::check`].
    pub plane: Vec<Url>,
    /// The file that holds the agent's token.
    pub token_file: PathBuf,
    /// A file with PEM certificates to trust in addition to the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The planes' public keys, one of which a plane must present. If empty, certificate authorities are used.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "write_pins")]
    pub pin: Vec<Pin>,
    /// The directory for secrets and the cache.
    pub state_dir: PathBuf,
    /// The interval between reports in seconds, 1 to 3600. The interface is also checked before each report.
    pub report_interval: u32,
    /// The WireGuard implementation that provides the interface.
    pub backend: Backend,
    /// Allows connections without TLS to planes on other machines.
    pub allow_plaintext: bool,
    /// The networks that may be routed into the tunnel even if this host needs them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_routes: Vec<IpNet>,
    /// The address of the metrics page, which is served over plain HTTP without a token; `None` disables the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_listen: Option<SocketAddr>,
    /// Allows `metrics_listen` to be an address other than loopback.
    #[serde(skip_serializing_if = "is_default")]
    pub metrics_expose: bool,
    /// The log filter.
    #[serde(skip_serializing_if = "is_default", serialize_with = "write_filter")]
    pub log: Filter,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn write_filter<S: Serializer>(filter: &Filter, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(filter.as_str())
}

fn write_pins<S: Serializer>(pins: &[Pin], serializer: S) -> Result<S::Ok, S::Error> {
    match pins {
        [one] => one.serialize(serializer),
        pins => pins.serialize(serializer),
    }
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
    /// Returns a configuration for these planes, with defaults for all other settings.
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
            allow_routes: Vec::new(),
            metrics_listen: None,
            metrics_expose: false,
            log: Filter::default(),
        }
    }

    /// Returns the hosts in the planes' URLs: names, IPv4 addresses, or IPv6 addresses in brackets.
    #[must_use]
    pub fn plane_hosts(&self) -> Vec<String> {
        let hosts = self.plane.iter().filter_map(|url| url.host_str().map(str::to_owned));
        hosts.collect()
    }

    /// Reads the file, applies the environment variables, and checks the result.
    pub fn load(path: &Path, environment: impl Iterator<Item = (String, String)>) -> Result<Self, Error> {
        let config = Self::read(path, environment)?;
        config.check()?;
        Ok(config)
    }

    /// Reads the file and applies the environment variables, but does not check that the values are consistent.
    pub fn read(path: &Path, environment: impl Iterator<Item = (String, String)>) -> Result<Self, Error> {
        let content = std::fs::read(path).map_err(|source| Error::File {
            path: path.to_owned(),
            source,
        })?;
        let text = String::from_utf8(content).map_err(|error| not_utf8(path, &error))?;
        let mut settings = Settings::of_file(path, &text)?;
        // Convert the file's settings alone first: a bad value in the file is an error even if a variable overrides
        // it.
        settings.clone().into_config()?;
        let environment: Vec<(String, String)> = environment.collect();
        let credentials = environment.iter().find(|(name, _)| name == CREDENTIALS);
        let token = credentials.map(|(_, folder)| Path::new(folder).join(TOKEN_CREDENTIAL));
        if let Some(token) = token.filter(|token| token.exists()) {
            settings.replace_token_file(&token);
        }
        for (name, value) in environment {
            if let Some(key) = name.strip_prefix(ENVIRONMENT) {
                settings.replace(key.to_lowercase(), &name, &value);
            }
        }
        settings.into_config()
    }

    /// Returns the keys or certificate authorities that identify the planes. Reads `ca_file` if it is set.
    pub fn trust(&self) -> Result<Trust, Error> {
        if !self.pin.is_empty() {
            return Ok(Trust::Pins(self.pin.clone()));
        }
        Ok(Trust::Authorities(self.ca_file.as_deref().map(read_pem).transpose()?))
    }
}

/// Reads a file that must contain at least one certificate.
fn read_pem(path: &Path) -> Result<Vec<u8>, Error> {
    let pem = std::fs::read(path).map_err(|source| Error::Certificates {
        path: path.to_owned(),
        source,
    })?;
    match pem
        .windows(BEGIN_CERTIFICATE.len())
        .any(|part| part == BEGIN_CERTIFICATE)
    {
        true => Ok(pem),
        false => Err(Error::NoCertificate(path.to_owned())),
    }
}

/// Returns the error for a file that is not UTF-8.
fn not_utf8(path: &Path, error: &FromUtf8Error) -> Error {
    let valid = error.as_bytes().get(..error.utf8_error().valid_up_to());
    Error::Encoding {
        path: path.to_owned(),
        line: valid.unwrap_or_default().split(|byte| *byte == b'\n').count(),
    }
}

#[cfg(test)]
mod tests;
