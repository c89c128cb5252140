//! Logging for all Sentrazone programs.
//!
//! Owns the destination of log lines (journald with their fields, a terminal in colours, or plain text), the
//! filter, and changes to the filter while a program runs. It must not know what is logged.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::sync::{Mutex, PoisonError};

use nix::sys::stat::fstat;
use tracing::{Level, Metadata, Subscriber};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, filter, reload};

/// The environment variable that overrides the configuration when a program starts.
pub const VARIABLE: &str = "SENTRAZONE_LOG";

/// The filter that is used if none is configured.
pub const DEFAULT: &str = "info";

/// The crates of Sentrazone. Trace lines from other crates are always dropped: those crates handle
/// bytes that contain tokens and keys, and Sentrazone cannot guarantee what they log.
const OURS: [&str; 2] = ["sentrazone", "wgctl"];

/// A log filter: a comma-separated list of `level` or `crate::module=level`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(String);

impl Filter {
    /// Returns the filter as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self(DEFAULT.to_owned())
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text).map(|_| Self(text.to_owned()))
    }
}

fn parse(text: &str) -> Result<EnvFilter, String> {
    let wanted = "write error, warn, info, debug or trace, or a list like info,sentrazone_plane::store=debug";
    // A single unknown word would be parsed as the name of a module, and only that module would be logged.
    let is_known =
        |part: &str| part.contains('=') || (!part.trim().is_empty() && part.trim().parse::<LevelFilter>().is_ok());
    if !text.split(',').all(is_known) {
        return Err(format!("{text:?} is not a log filter: {wanted}"));
    }
    EnvFilter::builder()
        .parse(text)
        .map_err(|_| format!("{text:?} is not a log filter: {wanted}"))
}

/// The log of a running program.
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    /// The filter that was last configured.
    configured: Mutex<Filter>,
}

/// Starts logging with the filter in [`VARIABLE`], or else with the configured one. Must be called only once.
#[must_use]
pub fn start(configured: Filter) -> Log {
    let said = std::env::var(VARIABLE).ok().map(|text| parse(&text));
    let configured_filter = || parse(configured.as_str()).unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let (first, misunderstood) = match said {
        Some(Ok(filter)) => (filter, None),
        Some(Err(reason)) => (configured_filter(), Some(reason)),
        None => (configured_filter(), None),
    };
    let (first, handle) = reload::Layer::new(first);
    let journal = journal();
    let text = journal.is_none().then(|| {
        tracing_subscriber::fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal())
    });
    // If there is already a subscriber (a test's), it is kept.
    let _ = tracing_subscriber::registry()
        .with(first)
        .with(discreet())
        .with(journal)
        .with(text)
        .try_init();
    if let Some(reason) = misunderstood {
        tracing::warn!("{VARIABLE} is ignored: {reason}");
    }
    Log {
        filter: handle,
        configured: Mutex::new(configured),
    }
}

impl Log {
    /// Applies the filter from a configuration that has been read again. If it differs from the previously configured
    /// filter, it takes effect even if [`VARIABLE`] was set at startup.
    pub fn configure(&self, configured: Filter) {
        let mut before = self.configured.lock().unwrap_or_else(PoisonError::into_inner);
        if *before == configured {
            return;
        }
        let tell = || tracing::info!("the log filter changes from {before} to {configured}");
        // The change is logged once, if one of the two filters lets it through.
        let told = tracing::enabled!(Level::INFO);
        if told {
            tell();
        }
        match parse(configured.as_str())
            .and_then(|filter| self.filter.reload(filter).map_err(|error| error.to_string()))
        {
            Ok(()) if told => {}
            Ok(()) => tell(),
            Err(reason) => tracing::error!("the log filter stays at {before}: {reason}"),
        }
        *before = configured;
    }
}

/// Drops the log lines in which other crates may show the bytes that they process.
pub fn discreet<S: Subscriber>() -> impl Layer<S> {
    filter::filter_fn(is_discreet)
}

fn is_discreet(line: &Metadata<'_>) -> bool {
    *line.level() <= Level::DEBUG || OURS.iter().any(|ours| line.target().starts_with(ours))
}

/// Returns the journald layer if stderr is connected to journald (`JOURNAL_STREAM`, systemd.exec(5)). Log
/// lines keep their fields there.
fn journal() -> Option<tracing_journald::Layer> {
    let named = std::env::var("JOURNAL_STREAM").ok()?;
    let stream = fstat(io::stderr()).ok()?;
    if named != format!("{}:{}", stream.st_dev, stream.st_ino) {
        return None;
    }
    let layer = tracing_journald::layer().ok()?;
    // The priorities of syslog, and fields without a prefix: `journalctl REQUEST_ID=…`.
    let priorities = PriorityMappings {
        info: Priority::Informational,
        debug: Priority::Debug,
        ..PriorityMappings::new()
    };
    Some(layer.with_field_prefix(None).with_priority_mappings(priorities))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_filter_is_refused_with_a_description_of_valid_ones() {
        for good in ["info", "TRACE", "warn,sentrazone_plane::store=debug", "off"] {
            assert!(good.parse::<Filter>().is_ok(), "{good}");
        }
        for bad in [
            "",
            " ",
            "lots",
            "info,sentrazone_plane",
            "info,sentrazone_plane=loud",
            "a=b=c",
        ] {
            let reason = bad.parse::<Filter>().unwrap_err();
            assert!(reason.contains("write error, warn"), "{bad:?}: {reason}");
        }
    }
}
