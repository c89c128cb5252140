//! Rendering of a [`PeerConfig`] as text.
//!
//! Owns the order of the keys and the comments. Every line is `Key = value`, a section header or a comment;
//! no value can contain a line break. It must not fail.

use std::fmt::Display;

use zeroize::Zeroizing;

use super::peer_config::PeerConfig;

/// The line that replaces the private key if the device has generated its own.
const OWN_KEY: &str = "# PrivateKey = the one that this device generated\n";

impl PeerConfig {
    /// Returns the wg-quick text, with every line terminated. The text contains the keys, so it is secret and
    /// is wiped when dropped.
    #[must_use]
    pub fn render(&self) -> Zeroizing<String> {
        let mut text = Text(Zeroizing::new(String::with_capacity(self.size_bound())));
        text.push(&format!("# {}\n[Interface]\n", self.name));
        match &self.private_key {
            Some(key) => text.secret("PrivateKey", &key.to_base64()),
            None => text.push(OWN_KEY),
        }
        text.list("Address", &self.addresses);
        text.list("DNS", &self.dns);
        text.list("MTU", self.mtu.as_slice());
        text.push("\n[Peer]\n");
        text.list("PublicKey", &[self.public_key]);
        if let Some(key) = &self.preshared_key {
            text.secret("PresharedKey", &key.to_base64());
        }
        text.list("AllowedIPs", &self.allowed_ips);
        text.list("Endpoint", std::slice::from_ref(&self.endpoint));
        text.list(
            "PersistentKeepalive",
            self.persistent_keepalive.filter(|&seconds| seconds != 0).as_slice(),
        );
        text.0
    }

    /// Returns an upper limit on the length of the text in bytes. A buffer that grew would leave a copy of
    /// the keys behind.
    pub(super) fn size_bound(&self) -> usize {
        // The longest network is an IPv6 one: 39 characters, `/128` and `, `.
        let networks = self.addresses.len() + self.allowed_ips.len() + self.dns.len();
        512 + self.name.as_str().len() + self.endpoint.host().len() + networks * 48
    }
}

struct Text(Zeroizing<String>);

impl Text {
    fn push(&mut self, part: &str) {
        self.0.push_str(part);
    }

    fn secret(&mut self, key: &str, value: &str) {
        for part in [key, " = ", value, "\n"] {
            self.push(part);
        }
    }

    /// Appends `key = a, b`, or nothing if there are no values.
    fn list<T: Display>(&mut self, key: &str, values: &[T]) {
        let mut separator = " = ";
        for value in values {
            if separator == " = " {
                self.push(key);
            }
            self.push(separator);
            self.push(&value.to_string());
            separator = ", ";
        }
        if !values.is_empty() {
            self.push("\n");
        }
    }
}
