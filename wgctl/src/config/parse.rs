//! From wg-quick text to typed sections, each error with its line.
//!
//! Owns the grammar: wg(8)'s configuration format with wg-quick(8)'s additions, keys and section
//! names in any case, `#` begins a comment. Settings that would run a command or that nobody
//! knows are kept as [`Directive`]s for the caller to refuse or report; they are never carried out.
//! Errors must not repeat a secret value.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::address::Endpoint;
use crate::key::{PresharedKey, PrivateKey, PublicKey};

/// A wg-quick file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WgQuick {
    /// The first comment before the first section, where a configuration of ours has the peer's name.
    pub comment: Option<String>,
    /// The `[Interface]` section.
    pub interface: Interface,
    /// The `[Peer]` sections, in the file's order.
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
    /// `Address`, host bits kept.
    pub addresses: Vec<IpNet>,
    /// The addresses of `DNS`.
    pub dns: Vec<IpAddr>,
    /// Search domains, which `DNS` may name beside addresses (wg-quick(8)).
    pub search_domains: Vec<String>,
    /// `MTU`.
    pub mtu: Option<u16>,
    /// Everything else.
    pub directives: Vec<Directive>,
}

/// A `[Peer]` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The line of its head, counted from 1.
    pub line: usize,
    /// `PublicKey`, the one setting a peer must have.
    pub public_key: PublicKey,
    /// `PresharedKey`; the all-zero key, which means none to the kernel, reads as none.
    pub preshared_key: Option<PresharedKey>,
    /// `AllowedIPs`, as written.
    pub allowed_ips: Vec<IpNet>,
    /// `Endpoint`.
    pub endpoint: Option<Endpoint>,
    /// `PersistentKeepalive`; `off` and 0 read as none.
    pub persistent_keepalive: Option<u16>,
    /// Everything else.
    pub directives: Vec<Directive>,
}

/// A setting that has no typed place here.
#[derive(Clone, PartialEq, Eq)]
pub struct Directive {
    /// Its line, counted from 1.
    pub line: usize,
    /// The key as written.
    pub key: String,
    /// The value as written. A hook's command line can hold a secret, so `Debug` leaves it out.
    pub value: String,
    /// The reason why it has no typed field.
    pub refusal: Refusal,
}

impl fmt::Debug for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {} ({:?})", self.line, self.key, self.refusal)
    }
}

/// The reason why a [`Directive`] is not taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `PreUp`, `PostUp`, `PreDown`, `PostDown`: would run a command.
    Command,
    /// `Table`, `SaveConfig`: says how wg-quick works, not what the interface is.
    WgQuickOnly,
    /// No setting of wg or wg-quick in this section.
    Unknown,
}

/// An error in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ParseError {
    /// Counted from 1.
    pub line: usize,
    /// The error, and the right form.
    pub message: String,
}

impl WgQuick {
    /// Reads a whole file.
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
            _ => Err(format!("{key} stands before the first section: begin with [Interface]")),
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
            return Err(format!("{line:?} is no section: there are [Interface] and [Peer]"));
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
            "listenport" => once(&mut self.listen_port, key, number(key, value, "0 to 65535")?),
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

    /// wg-quick takes what is no address for a search domain.
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
                number(key, value, "off or 0 to 65535 seconds")?,
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

/// wg(8) lets the last of two settings win; which one was meant is better asked.
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
    parsed.map_err(|_| format!("FwMark: {value:?} is not off, a number of 32 bits or one written 0x…"))
}

fn entries(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

fn networks(list: &mut Vec<IpNet>, key: &str, value: &str) -> Result<(), String> {
    for entry in entries(value) {
        let parsed = entry
            .parse::<IpNet>()
            .or_else(|_| entry.parse::<IpAddr>().map(IpNet::from));
        list.push(parsed.map_err(|_| format!("{key}: {entry:?} is no address or network like 10.8.0.0/24"))?);
    }
    Ok(())
}
