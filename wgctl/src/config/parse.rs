//! Parsing of wg-quick text into typed sections; each error names its line.
//!
//! Owns the grammar: wg(8)'s configuration format with wg-quick(8)'s additions. Keys and section names are
//! case-insensitive, and `#` begins a comment. Settings that would run a command and unknown settings are
//! stored as [`Directive`]s for the caller to refuse or report; they are never executed. Errors must not
//! repeat a secret value.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::address::Endpoint;
use crate::key::{PresharedKey, PrivateKey, PublicKey};

/// A wg-quick file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WgQuick {
    /// The first comment before the first section. In a configuration from Sentrazone, it is the peer's name.
    pub comment: Option<String>,
    /// The `[Interface]` section.
    pub interface: Interface,
    /// The `[Peer]` sections, in the order of the file.
    pub peers: Vec<Peer>,
}

/// An `[Interface]` section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interface {
    /// `PrivateKey`.
    pub private_key: Option<PrivateKey>,
    /// `ListenPort`.
    pub listen_port: Option<u16>,
    /// `FwMark`; `off` is 0.
    pub fwmark: Option<u32>,
    /// `Address`, with its host bits.
    pub addresses: Vec<IpNet>,
    /// The addresses in `DNS`.
    pub dns: Vec<IpAddr>,
    /// The search domains, which `DNS` may contain in addition to addresses (wg-quick(8)).
    pub search_domains: Vec<String>,
    /// `MTU`.
    pub mtu: Option<u16>,
    /// All other settings.
    pub directives: Vec<Directive>,
}

/// A `[Peer]` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The number of the line with the section's header, counted from 1.
    pub line: usize,
    /// `PublicKey`, the only mandatory setting of a peer.
    pub public_key: PublicKey,
    /// `PresharedKey`. The all-zero key, which means "none" to the kernel, is read as `None`.
    pub preshared_key: Option<PresharedKey>,
    /// `AllowedIPs`, as written.
    pub allowed_ips: Vec<IpNet>,
    /// `Endpoint`.
    pub endpoint: Option<Endpoint>,
    /// `PersistentKeepalive`. `off` and 0 are read as `None`.
    pub persistent_keepalive: Option<u16>,
    /// All other settings.
    pub directives: Vec<Directive>,
}

/// A setting that has no typed field here.
#[derive(Clone, PartialEq, Eq)]
pub struct Directive {
    /// The number of its line, counted from 1.
    pub line: usize,
    /// The key as written.
    pub key: String,
    /// The value as written. `Debug` omits it, because a hook's command line may contain a secret.
    pub value: String,
    /// The reason why it has no typed field.
    pub refusal: Refusal,
}

impl fmt::Debug for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {} ({:?})", self.line, self.key, self.refusal)
    }
}

/// The reason why a [`Directive`] is not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `PreUp`, `PostUp`, `PreDown`, `PostDown`: the setting would run a command.
    Command,
    /// `Table`, `SaveConfig`: the setting configures wg-quick, not the interface.
    WgQuickOnly,
    /// The setting is unknown to wg and wg-quick in this section.
    Unknown,
}

/// An error in one line of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ParseError {
    /// The number of the line, counted from 1.
    pub line: usize,
    /// A description of the error and the correct form.
    pub message: String,
}

impl WgQuick {
    /// Parses a whole file.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut reader = Reader::default();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let number = index + 1;
            reader
                .line(number, line)
                .map_err(|message| ParseError { line: number, message })?;
        }
        reader.finish()
    }
}

#[derive(Default)]
struct Reader {
    comment: Option<String>,
    interface: Option<Interface>,
    peers: Vec<PeerDraft>,
    section: Section,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Section {
    #[default]
    None,
    Interface,
    Peer,
}

#[derive(Default)]
struct PeerDraft {
    line: usize,
    public_key: Option<PublicKey>,
    preshared_key: Option<Option<PresharedKey>>,
    allowed_ips: Vec<IpNet>,
    endpoint: Option<Endpoint>,
    persistent_keepalive: Option<u16>,
    directives: Vec<Directive>,
}

impl Reader {
    fn line(&mut self, number: usize, line: &str) -> Result<(), String> {
        let (line, comment) = line
            .split_once('#')
            .map_or((line, None), |(line, comment)| (line, Some(comment)));
        let line = line.trim();
        if let (Section::None, None, true, Some(comment)) = (self.section, &self.comment, line.is_empty(), comment) {
            self.comment = Some(comment.trim().to_owned());
        }
        if line.is_empty() {
            return Ok(());
        }
        if line.starts_with('[') {
            return self.section_head(number, line);
        }
        let (key, value) = line
            .split_once('=')
            .ok_or("expected `Key = value`, a [Section] or a # comment")?;
        let (key, value) = (key.trim(), value.trim());
        match (self.section, &mut self.interface, self.peers.last_mut()) {
            (Section::Interface, Some(interface), _) => interface.setting(number, key, value),
            (Section::Peer, _, Some(peer)) => peer.setting(number, key, value),
            _ => Err(format!("{key} comes before the first section: begin with [Interface]")),
        }
    }

    fn section_head(&mut self, number: usize, line: &str) -> Result<(), String> {
        if line.eq_ignore_ascii_case("[Interface]") {
            if self.interface.is_some() {
                return Err("a second [Interface] section: a file describes one interface".to_owned());
            }
            self.interface = Some(Interface::default());
            self.section = Section::Interface;
        } else if line.eq_ignore_ascii_case("[Peer]") {
            self.peers.push(PeerDraft {
                line: number,
                ..PeerDraft::default()
            });
            self.section = Section::Peer;
        } else {
            return Err(format!("{line:?} is not a section: use [Interface] or [Peer]"));
        }
        Ok(())
    }

    fn finish(self) -> Result<WgQuick, ParseError> {
        Ok(WgQuick {
            comment: self.comment,
            interface: self.interface.unwrap_or_default(),
            peers: self
                .peers
                .into_iter()
                .map(PeerDraft::finish)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Interface {
    fn setting(&mut self, line: usize, key: &str, value: &str) -> Result<(), String> {
        match key.to_ascii_lowercase().as_str() {
            "privatekey" => once(&mut self.private_key, key, secret(key, value)?),
            "listenport" => once(
                &mut self.listen_port,
                key,
                number(key, value, "a number from 0 to 65535")?,
            ),
            "fwmark" => once(&mut self.fwmark, key, fwmark(value)?),
            "mtu" => once(&mut self.mtu, key, number(key, value, "a number of bytes up to 65535")?),
            "address" => networks(&mut self.addresses, key, value),
            "dns" => {
                self.dns_entries(value);
                Ok(())
            }
            lower => {
                let refusal = match lower {
                    "preup" | "postup" | "predown" | "postdown" => Refusal::Command,
                    "table" | "saveconfig" => Refusal::WgQuickOnly,
                    _ => Refusal::Unknown,
                };
                self.directives.push(Directive {
                    line,
                    key: key.to_owned(),
                    value: value.to_owned(),
                    refusal,
                });
                Ok(())
            }
        }
    }

    /// Adds the entries of a `DNS` setting. wg-quick treats every entry that is not an address as a search domain.
    fn dns_entries(&mut self, value: &str) {
        for entry in entries(value) {
            match entry.parse() {
                Ok(address) => self.dns.push(address),
                Err(_) => self.search_domains.push(entry.to_owned()),
            }
        }
    }
}

impl PeerDraft {
    fn setting(&mut self, line: usize, key: &str, value: &str) -> Result<(), String> {
        match key.to_ascii_lowercase().as_str() {
            "publickey" => {
                let parsed = value.parse().map_err(|error| format!("{key}: {error}"))?;
                once(&mut self.public_key, key, parsed)
            }
            "presharedkey" => once(&mut self.preshared_key, key, preshared_key(key, value)?),
            "allowedips" => networks(&mut self.allowed_ips, key, value),
            "endpoint" => {
                let parsed = value.parse().map_err(|error| format!("{key}: {error}"))?;
                once(&mut self.endpoint, key, parsed)
            }
            "persistentkeepalive" if value.eq_ignore_ascii_case("off") => once(&mut self.persistent_keepalive, key, 0),
            "persistentkeepalive" => once(
                &mut self.persistent_keepalive,
                key,
                number(key, value, "off or a number of seconds up to 65535")?,
            ),
            _ => {
                let (key, value) = (key.to_owned(), value.to_owned());
                self.directives.push(Directive {
                    line,
                    key,
                    value,
                    refusal: Refusal::Unknown,
                });
                Ok(())
            }
        }
    }

    fn finish(self) -> Result<Peer, ParseError> {
        let missing = || ParseError {
            line: self.line,
            message: "this [Peer] has no PublicKey".to_owned(),
        };
        Ok(Peer {
            line: self.line,
            public_key: self.public_key.ok_or_else(missing)?,
            preshared_key: self.preshared_key.flatten(),
            allowed_ips: self.allowed_ips,
            endpoint: self.endpoint,
            persistent_keepalive: self.persistent_keepalive.filter(|&seconds| seconds != 0),
            directives: self.directives,
        })
    }
}

/// Stores a value and refuses a second one. With wg(8), the last one wins, but only the user knows which one
/// was meant.
fn once<T>(place: &mut Option<T>, key: &str, value: T) -> Result<(), String> {
    if place.is_some() {
        return Err(format!("a second {key} in one section: remove one"));
    }
    *place = Some(value);
    Ok(())
}

fn secret<T: FromStr<Err = crate::key::KeyError>>(key: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|error| format!("{key}: {error}"))
}

fn preshared_key(key: &str, value: &str) -> Result<Option<PresharedKey>, String> {
    match value.parse() {
        Ok(parsed) => Ok(Some(parsed)),
        Err(crate::key::KeyError::Zero) => Ok(None),
        Err(error) => Err(format!("{key}: {error}")),
    }
}

fn number(key: &str, value: &str, range: &str) -> Result<u16, String> {
    value.parse().map_err(|_| format!("{key}: {value:?} is not {range}"))
}

fn fwmark(value: &str) -> Result<u32, String> {
    let parsed = match value.strip_prefix("0x").or_else(|| value.strip_prefix("0X")) {
        _ if value.eq_ignore_ascii_case("off") => Ok(0),
        Some(hex) => u32::from_str_radix(hex, 16),
        None => value.parse(),
    };
    parsed.map_err(|_| format!("FwMark: {value:?} is not off or a 32-bit number, in decimal or as 0x…"))
}

fn entries(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

fn networks(list: &mut Vec<IpNet>, key: &str, value: &str) -> Result<(), String> {
    for entry in entries(value) {
        let parsed = entry
            .parse::<IpNet>()
            .or_else(|_| entry.parse::<IpAddr>().map(IpNet::from));
        list.push(parsed.map_err(|_| format!("{key}: {entry:?} is not an address or a network like 10.8.0.0/24"))?);
    }
    Ok(())
}
