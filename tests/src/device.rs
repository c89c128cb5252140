//! A device that connects with the configuration it got, by `wg-quick strip` and `wg setconf`.
//!
//! Owns nothing of the product: it does what a phone would do with the file.

use std::path::PathBuf;

use crate::netns::Netns;

/// A device in a namespace of its own.
pub struct Device {
    /// Its namespace.
    pub namespace: Netns,
    file: PathBuf,
}

impl Device {
    /// A device that keeps its configuration in `file`.
    #[must_use]
    pub fn new(namespace: Netns, file: PathBuf) -> Self {
        Self { namespace, file }
    }

    /// Brings the tunnel up with wg-quick text: key and peer by `wg`, addresses, MTU and routes by `ip`.
    pub fn connect(&self, configuration: &str) {
        std::fs::write(&self.file, configuration).expect("a file");
        let path = self.file.display().to_string();
        let stripped = self.namespace.exec(&["wg-quick", "strip", &path]);
        let bare = self.file.with_extension("stripped");
        std::fs::write(&bare, stripped).expect("a file");
        let _ = self.namespace.succeeds(&["ip", "link", "del", "tun0"]);
        self.namespace.exec(&["ip", "link", "add", "tun0", "type", "wireguard"]);
        self.namespace
            .exec(&["wg", "setconf", "tun0", &bare.display().to_string()]);
        for address in values(configuration, "Address") {
            self.namespace.exec(&["ip", "addr", "add", &address, "dev", "tun0"]);
        }
        self.namespace.exec(&["ip", "link", "set", "tun0", "up"]);
        for network in values(configuration, "AllowedIPs") {
            // Everything in two halves, as wg-quick's users know it: the default route stays.
            let halves = match network.as_str() {
                "0.0.0.0/0" => vec!["0.0.0.0/1".to_owned(), "128.0.0.0/1".to_owned()],
                "::/0" => vec!["::/1".to_owned(), "8000::/1".to_owned()],
                _ => vec![network],
            };
            for half in halves {
                self.namespace.exec(&["ip", "route", "add", &half, "dev", "tun0"]);
            }
        }
    }

    /// Whether `address` answers within a few tries.
    #[must_use]
    pub fn reaches(&self, address: &str) -> bool {
        self.namespace
            .succeeds(&["ping", "-n", "-c", "3", "-i", "0.2", "-w", "20", address])
    }

    /// Whether `address` answers not even once.
    #[must_use]
    pub fn misses(&self, address: &str) -> bool {
        // ping's exit status: 0 when at least one answer came, 1 when none did (ping(8)).
        let output = self
            .namespace
            .command("ping")
            .args(["-n", "-c", "3", "-i", "0.2", "-W", "1", address])
            .output();
        output.expect("ping").status.code() == Some(1)
    }
}

/// The comma-separated values of a key in wg-quick text.
#[must_use]
pub fn values(configuration: &str, key: &str) -> Vec<String> {
    let lines = configuration.lines().filter_map(|line| line.split_once('='));
    lines
        .filter(|(name, _)| name.trim() == key)
        .flat_map(|(_, list)| list.split(','))
        .map(|value| value.trim().to_owned())
        .collect()
}
