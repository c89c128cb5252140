//! A device that applies its configuration with `wg-quick strip` and `wg setconf`.
//!
//! It must not use the product's code: it handles the file as a phone would.

use std::path::PathBuf;

use crate::netns::Netns;

/// A device in a namespace of its own.
pub struct Device {
    /// The device's namespace.
    pub namespace: Netns,
    file: PathBuf,
}

impl Device {
    /// Creates a device that keeps its configuration in `file`.
    #[must_use]
    pub fn new(namespace: Netns, file: PathBuf) -> Self {
        Self { namespace, file }
    }

    /// Brings the tunnel up from a wg-quick configuration: key and peer with `wg`, addresses and routes with `ip`.
    pub fn connect(&self, configuration: &str) {
        std::fs::write(&self.file, configuration).expect("a file");
        let path = self.file.display().to_string();
        let stripped = self.namespace.exec(&["wg-quick", "strip", &path]);
        let bare = self.file.with_extension("stripped");
        std::fs::write(&bare, stripped).expect("a file");
        let _ = self.namespace.succeeds(&["ip", "link", "del", "tun0"]);
        self.namespace.ip(&["link add tun0 type wireguard"]);
        self.namespace
            .exec(&["wg", "setconf", "tun0", &bare.display().to_string()]);
        let addresses = values(configuration, "Address").into_iter();
        let mut commands: Vec<String> = addresses
            .map(|address| format!("addr add {address} dev tun0"))
            .collect();
        commands.push("link set tun0 up".to_owned());
        for network in values(configuration, "AllowedIPs") {
            // Splits `0.0.0.0/0` and `::/0` into halves, as wg-quick users often do, to keep the default route.
            let halves = match network.as_str() {
                "0.0.0.0/0" => vec!["0.0.0.0/1".to_owned(), "128.0.0.0/1".to_owned()],
                "::/0" => vec!["::/1".to_owned(), "8000::/1".to_owned()],
                _ => vec![network],
            };
            commands.extend(halves.iter().map(|half| format!("route add {half} dev tun0")));
        }
        let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
        self.namespace.ip(&commands);
    }

    /// Returns true if `address` answers a ping within a few attempts.
    #[must_use]
    pub fn reaches(&self, address: &str) -> bool {
        self.namespace
            .succeeds(&["ping", "-n", "-c", "3", "-i", "0.2", "-w", "20", address])
    }

    /// Returns true if `address` does not answer any ping.
    #[must_use]
    pub fn misses(&self, address: &str) -> bool {
        // ping exits with 0 if at least one reply arrived, and with 1 if none did (ping(8)).
        let output = self
            .namespace
            .command("ping")
            .args(["-n", "-c", "3", "-i", "0.2", "-W", "1", address])
            .output();
        output.expect("ping").status.code() == Some(1)
    }
}

/// Returns the comma-separated values for a key in a wg-quick configuration.
#[must_use]
pub fn values(configuration: &str, key: &str) -> Vec<String> {
    let lines = configuration.lines().filter_map(|line| line.split_once('='));
    lines
        .filter(|(name, _)| name.trim() == key)
        .flat_map(|(_, list)| list.split(','))
        .map(|value| value.trim().to_owned())
        .collect()
}
