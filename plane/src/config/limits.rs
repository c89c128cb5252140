//! The limits on callers: `[limits]`.
//!
//! Owns the limits, their defaults and their permitted ranges. It must not enforce them: that belongs to `http`.

use std::num::NonZeroU32;
use std::time::Duration;

use super::settings::{SettingError, Settings};
use super::{bounded, changes, seconds};

/// The limits on callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The maximum size of a person's request body, in bytes.
    pub max_body: usize,
    /// The maximum size of an agent's request body, in bytes. The counters of 50,000 busy peers take about 6 MB.
    pub max_agent_body: usize,
    /// The maximum size of a request's head, in bytes, including its headers (at most 100).
    pub max_head: usize,
    /// The maximum length of a request's path and query, in bytes.
    pub max_url: usize,
    /// The maximum number of simultaneous connections, of which at most half may be unauthenticated. Further
    /// connections wait in the kernel's queue.
    pub max_connections: usize,
    /// The maximum number of simultaneous connections from one address or one IPv6 /64. Trusted proxies and plain
    /// HTTP are exempt, because there one address stands for many callers.
    pub max_connections_per_address: usize,
    /// The time limit for a TLS handshake, for a request's head, and for an idle keep-alive connection.
    pub header_timeout: Duration,
    /// The time allowed for a request's body, in addition to the time that `min_body_rate` allows for its length.
    pub body_timeout: Duration,
    /// The minimum rate of a request's body, in bytes per second. A body that arrives at this rate or faster is not
    /// cut off, however long it is.
    pub min_body_rate: usize,
    /// The number of changes per second that one person, API token or local user may make after a burst. Reads of
    /// secrets have the same limit and are counted separately.
    pub writes_per_second: NonZeroU32,
    /// The number of changes that the same caller may make in one burst.
    pub write_burst: NonZeroU32,
    /// The time for which running requests may continue after the plane has been told to stop.
    pub shutdown_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body: 1 << 20,
            max_agent_body: 16 << 20,
            max_head: 16 << 10,
            max_url: 8 << 10,
            max_connections: 4096,
            max_connections_per_address: 256,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            min_body_rate: 4096,
            writes_per_second: NonZeroU32::MIN.saturating_add(49),
            write_burst: NonZeroU32::MIN.saturating_add(199),
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}

impl Limits {
    pub(super) fn take(settings: &mut Settings, default: Self) -> Result<Self, SettingError> {
        let bytes = |text: &str| bounded(text, "bytes", 1024, 1 << 30);
        let connections = |text: &str| bounded(text, "connections", 1, 1_000_000);
        let patience = |text: &str| seconds(text, 1, 600);
        Ok(Self {
            max_body: settings.take_with("limits.max_body", default.max_body, bytes)?,
            max_agent_body: settings.take_with("limits.max_agent_body", default.max_agent_body, bytes)?,
            max_head: settings.take_with("limits.max_head", default.max_head, |text| {
                bounded(text, "bytes", 4096, 65_536)
            })?,
            max_url: settings.take_with("limits.max_url", default.max_url, |text| {
                bounded(text, "bytes", 1024, 65_536)
            })?,
            max_connections: settings.take_with("limits.max_connections", default.max_connections, connections)?,
            max_connections_per_address: settings.take_with(
                "limits.max_connections_per_address",
                default.max_connections_per_address,
                connections,
            )?,
            header_timeout: settings.take_with("limits.header_timeout", default.header_timeout, patience)?,
            body_timeout: settings.take_with("limits.body_timeout", default.body_timeout, patience)?,
            min_body_rate: settings.take_with("limits.min_body_rate", default.min_body_rate, |text| {
                bounded(text, "bytes per second", 1, 1 << 30)
            })?,
            writes_per_second: settings.take_with("limits.writes_per_second", default.writes_per_second, changes)?,
            write_burst: settings.take_with("limits.write_burst", default.write_burst, changes)?,
            shutdown_timeout: settings.take_with("limits.shutdown_timeout", default.shutdown_timeout, |text| {
                seconds(text, 0, 600)
            })?,
        })
    }
}
