//! The settings in `agent.toml` and the parsing of their values.
//!
//! Owns the form of each value and the error messages, which give the location, the setting, the fault and a valid
//! example, without text from the parsing libraries. It must not check that values are consistent: that belongs
//! to `check`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use toml::Value;
use toml::de::DeTable;
use url::Url;
use wgctl::Pin;
use wgctl::api::base_url;
use wgctl::program::log::Filter;

use super::{Backend, Config, Error};

/// The settings from a file, some of which may have been overridden by variables.
#[derive(Clone)]
pub(super) struct Settings(BTreeMap<String, Setting>);

#[derive(Clone)]
struct Setting {
    /// The file and line, or the variable.
    origin: String,
    value: Value,
}

impl Settings {
    /// Parses the settings from `text`, the content of the file at `path`.
    pub(super) fn of_file(path: &Path, text: &str) -> Result<Self, Error> {
        let syntax = |error: &toml::de::Error| {
            let (line, column) = position(text, error.span().map_or(0, |span| span.start));
            Error::Syntax {
                path: path.to_owned(),
                line,
                column,
            }
        };
        let spans = DeTable::parse(text).map_err(|error| syntax(&error))?;
        let values: toml::Table = toml::from_str(text).map_err(|error| syntax(&error))?;
        let lines: BTreeMap<String, usize> = spans
            .get_ref()
            .iter()
            .map(|(key, _)| (key.get_ref().to_string(), position(text, key.span().start).0))
            .collect();
        let setting = |(key, value): (String, Value)| {
            let line = lines.get(&key).copied().unwrap_or(1);
            let origin = format!("{}: line {line}", path.display());
            (key, Setting { origin, value })
        };
        Ok(Self(values.into_iter().map(setting).collect()))
    }

    /// Replaces a setting with the value of a variable, which takes precedence over the file.
    pub(super) fn replace(&mut self, key: String, variable: &str, text: &str) {
        let setting = Setting {
            origin: format!("the variable {variable}"),
            value: environment_value(text),
        };
        self.0.insert(key, setting);
    }

    /// Replaces `token_file` with the path of the token that the service manager provides.
    pub(super) fn replace_token_file(&mut self, path: &Path) {
        let setting = Setting {
            origin: "the unit's credentials".to_owned(),
            value: Value::String(path.to_string_lossy().into_owned()),
        };
        self.0.insert("token_file".to_owned(), setting);
    }

    /// Converts the settings into a configuration, with defaults for those that are absent.
    pub(super) fn into_config(mut self) -> Result<Config, Error> {
        let default = Config::new(Vec::new());
        let config = Config {
            plane: self.take("plane", planes)?.unwrap_or_default(),
            token_file: self.take("token_file", file)?.unwrap_or(default.token_file),
            ca_file: self.take("ca_file", file)?,
            pin: self.take("pin", pins)?.unwrap_or_default(),
            state_dir: self.take("state_dir", folder)?.unwrap_or(default.state_dir),
            report_interval: self
                .take("report_interval", seconds)?
                .unwrap_or(default.report_interval),
            backend: self.take("backend", backend)?.unwrap_or_default(),
            allow_plaintext: self.take("allow_plaintext", switch)?.unwrap_or_default(),
            allow_routes: self.take("allow_routes", networks)?.unwrap_or_default(),
            metrics_listen: self.take("metrics_listen", address)?.flatten(),
            metrics_expose: self.take("metrics_expose", switch)?.unwrap_or_default(),
            log: self.take("log", filter)?.unwrap_or_default(),
        };
        match self.0.pop_first() {
            None => Ok(config),
            Some((key, Setting { origin, .. })) => Err(Error::Setting {
                origin,
                key,
                message: "there is no such setting: agent.toml(5) lists all settings".to_owned(),
            }),
        }
    }

    /// Removes one setting and parses it with `read`; returns `None` if it is absent.
    fn take<T>(&mut self, key: &str, read: fn(&Value) -> Result<T, String>) -> Result<Option<T>, Error> {
        let Some(Setting { origin, value }) = self.0.remove(key) else {
            return Ok(None);
        };
        read(&value).map(Some).map_err(|message| Error::Setting {
            origin,
            key: key.to_owned(),
            message,
        })
    }
}

/// Returns the line and column at a byte offset, both counted from 1.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rsplit_once('\n').map_or(before, |(_, line)| line);
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// Parses a variable's value as TOML, or treats it as a string if it is not TOML.
fn environment_value(text: &str) -> Value {
    let parsed = toml::from_str::<toml::Table>(&format!("value = {text}")).ok();
    let value = parsed.and_then(|mut table| table.remove("value"));
    value.unwrap_or_else(|| Value::String(text.to_owned()))
}

fn planes(value: &Value) -> Result<Vec<Url>, String> {
    const WANTED: &str = "write a list of URLs, like [\"https://plane.example.com\"]";
    let list = value.as_array().ok_or_else(|| not(value, "a list", WANTED))?;
    let plane = |value: &Value| {
        let text = value.as_str().ok_or_else(|| not(value, "a URL", WANTED))?;
        base_url(text).map_err(|_| not(value, "an http or https URL", WANTED))
    };
    list.iter().map(plane).collect()
}

fn file(value: &Value) -> Result<PathBuf, String> {
    let text = value.as_str().filter(|text| !text.is_empty());
    let wanted = "write the path in double quotes, like \"/etc/sentrazone/agent.token\"";
    text.map(Into::into)
        .ok_or_else(|| not(value, "the path of a file", wanted))
}

fn folder(value: &Value) -> Result<PathBuf, String> {
    let text = value.as_str().filter(|text| !text.is_empty());
    let wanted = "write the path in double quotes, like \"/var/lib/sentrazone-agent\"";
    text.map(Into::into)
        .ok_or_else(|| not(value, "the path of a directory", wanted))
}

fn pins(value: &Value) -> Result<Vec<Pin>, String> {
    const WANTED: &str = "write \"sha256:\" and 64 hexadecimal digits in double quotes, as `sentrazone-plane \
                          fingerprint` prints it, or a list of such pins";
    let pin = |value: &Value| {
        let parsed = value.as_str().and_then(|text| text.parse().ok());
        parsed.ok_or_else(|| not(value, "a pin", WANTED))
    };
    match value {
        Value::Array(list) => list.iter().map(pin).collect(),
        Value::String(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Table(_) => Ok(vec![pin(value)?]),
    }
}

fn networks(value: &Value) -> Result<Vec<IpNet>, String> {
    const WANTED: &str = "write a list of networks, like [\"10.50.0.0/16\"]";
    let list = value.as_array().ok_or_else(|| not(value, "a list", WANTED))?;
    let network = |value: &Value| {
        let parsed = value.as_str().and_then(|text| text.parse::<IpNet>().ok());
        let network = parsed.ok_or_else(|| not(value, "a network", WANTED))?;
        match network == network.trunc() {
            true => Ok(network),
            false => Err(format!(
                "{network} has bits set after its prefix: write {}",
                network.trunc()
            )),
        }
    };
    list.iter().map(network).collect()
}

fn seconds(value: &Value) -> Result<u32, String> {
    let number = value.as_integer().and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| {
        let wanted = "write a whole number from 1 to 3600, without quotes, like 15";
        not(value, "a number of seconds", wanted)
    })
}

fn backend(value: &Value) -> Result<Backend, String> {
    match value.as_str() {
        Some("kernel") => Ok(Backend::Kernel),
        Some("userspace") => Ok(Backend::Userspace),
        _ => Err(not(value, "a backend", "write \"kernel\" or \"userspace\"")),
    }
}

fn switch(value: &Value) -> Result<bool, String> {
    let wanted = "write true or false, without quotes";
    value.as_bool().ok_or_else(|| not(value, "true or false", wanted))
}

fn address(value: &Value) -> Result<Option<SocketAddr>, String> {
    match value.as_str() {
        Some("") => Ok(None),
        text => text.and_then(|text| text.parse().ok()).map(Some).ok_or_else(|| {
            let wanted = "write an IP address and a port in double quotes, like \"127.0.0.1:9587\", or \"\" for none";
            not(value, "an address with a port", wanted)
        }),
    }
}

fn filter(value: &Value) -> Result<Filter, String> {
    value.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
        let wanted = "write \"error\", \"warn\", \"info\", \"debug\" or \"trace\", or a comma-separated list, like \
                      \"info,sentrazone_agent::conversation=debug\"";
        not(value, "a log level", wanted)
    })
}

/// Returns an error message that states the fault and gives a valid example.
fn not(value: &Value, kind: &str, wanted: &str) -> String {
    let shown = match value {
        Value::String(text) => format!("{text:?}"),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(switch) => switch.to_string(),
        Value::Datetime(date) => date.to_string(),
        Value::Array(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
    };
    format!("{shown} is not {kind}: {wanted}")
}
