//! The check that the settings in `agent.toml` are consistent.
//!
//! Owns the value ranges and the rules that involve several settings. It must not parse single values: that
//! belongs to `settings`.

use std::net::IpAddr;

use url::{Host, Url};
use wgctl::api::base_url;
use wgctl::program::metrics::check_listen;

use super::{Config, Error};

impl Config {
    /// Checks that values are in range and consistent with each other.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |key, message: String| Err(Error::Value { key, message });
        if self.plane.is_empty() {
            return wrong(
                "plane",
                "name at least one plane, like [\"https://plane.example.com\"]".to_owned(),
            );
        }
        for url in &self.plane {
            self.check_plane(url)?;
        }
        self.check_pins()?;
        if let Some(Err(reason)) = self
            .metrics_listen
            .map(|address| check_listen(address, self.metrics_expose))
        {
            return wrong(
                "metrics_listen",
                format!("{reason}: set metrics_expose = true if that is intended"),
            );
        }
        if !(1..=3600).contains(&self.report_interval) {
            return wrong(
                "report_interval",
                format!(
                    "{} is out of range: write a number of seconds from 1 to 3600, like 15",
                    self.report_interval
                ),
            );
        }
        Ok(())
    }

    /// Checks the URL of one plane.
    fn check_plane(&self, url: &Url) -> Result<(), Error> {
        let wrong = |message| Error::Value { key: "plane", message };
        base_url(url.as_str()).map_err(wrong)?;
        if url.scheme() == "http" && !self.allow_plaintext && !is_loopback(url) {
            return Err(wrong(format!(
                "{url} would send the token unencrypted: use https, or set allow_plaintext = true (enroll: \
                 --allow-plaintext)"
            )));
        }
        Ok(())
    }

    /// Checks that pins are not combined with other ways of identifying a plane.
    fn check_pins(&self) -> Result<(), Error> {
        let wrong = |message| Err(Error::Value { key: "pin", message });
        if self.pin.is_empty() {
            return Ok(());
        }
        if let Some(url) = self.plane.iter().find(|url| url.scheme() == "http") {
            return wrong(format!(
                "{url} is plain http, over which a plane presents no key: use https"
            ));
        }
        if self.ca_file.is_some() {
            return wrong(
                "set either pin or ca_file, not both: a pinned key needs no certificate authority".to_owned(),
            );
        }
        Ok(())
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}
