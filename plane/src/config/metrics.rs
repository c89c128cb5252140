//! The metrics settings: `[metrics]`.
//!
//! Owns the settings and their validation. It must not bind the address.

use std::net::SocketAddr;

use wgctl::program::metrics::check_listen;

use super::settings::{SettingError, Settings};

/// Access to the metrics, and their level of detail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics {
    /// A separate address that serves the metrics over plain HTTP without a token; `None` disables it. With a
    /// token, the metrics can be read on every address of the REST API.
    pub listen: Option<SocketAddr>,
    /// True if `listen` may be a non-loopback address.
    pub expose: bool,
    /// True if each peer has its own metric series.
    pub per_peer: bool,
}

impl Metrics {
    pub(super) fn take(settings: &mut Settings) -> Result<Self, SettingError> {
        let default = Self::default();
        let place = settings.place_of("metrics.listen");
        let metrics = Self {
            listen: settings.take_with("metrics.listen", default.listen, |text| match text {
                "" => Ok(None),
                text => text
                    .parse()
                    .map(Some)
                    .map_err(|_| format!("{text:?} is not an address with a port: use one such as 127.0.0.1:9586")),
            })?,
            expose: settings.take_bool("metrics.expose", default.expose)?,
            per_peer: settings.take_bool("metrics.per_peer", default.per_peer)?,
        };
        match metrics.listen.map(|address| check_listen(address, metrics.expose)) {
            Some(Err(reason)) => Err(SettingError {
                place,
                message: format!("metrics.listen: {reason}: set expose = true if you intend this"),
            }),
            _ => Ok(metrics),
        }
    }
}
