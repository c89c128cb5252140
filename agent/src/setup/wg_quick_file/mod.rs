//! A wg-quick file, read as an interface to be adopted.
//!
//! Owns which settings of the file are adopted, the names of its peers, and the notes about the rest.
//! Nothing in the file is executed, and no secret of it is repeated.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use wgctl::address::normal;
use wgctl::config::{Directive, Interface, ParseError, Peer as Section, Refusal, WgQuick};
use wgctl::device::{Device, Peer};
use wgctl::{PeerName, PrivateKey, PublicKey, ServerId};
use zeroize::Zeroizing;

/// A file that cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It is not a wg-quick file.
    #[error("{}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line and the fault.
        source: ParseError,
    },
    /// It has no key.
    #[error("{}: [Interface] has no PrivateKey: give the file that the server's interface is made from", .0.display())]
    NoKey(PathBuf),
    /// It names a peer twice.
    #[error("{}: line {line}: the peer {public_key} appears a second time: merge the two sections", path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// The line of the second section.
        line: usize,
        /// The peer's key.
        public_key: PublicKey,
    },
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The file.
    pub path: PathBuf,
    /// The interface's key.
    pub private_key: PrivateKey,
    /// The interface, as wg would make it.
    pub device: Device,
    /// The names of its peers, from the file's comments.
    pub names: BTreeMap<PublicKey, PeerName>,
    /// The settings that are not adopted.
    directives: Vec<Directive>,
    mtu: Option<u16>,
    fwmark: Option<u32>,
    dialled: usize,
}

impl Import {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map(Zeroizing::new);
        let text = text.map_err(|source| Error::File {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let file = WgQuick::parse(text).map_err(|source| Error::Parse {
            path: path.to_owned(),
            source,
        })?;
        let WgQuick {
            comment: _,
            interface,
            peers,
        } = file;
        let names = names(text, &peers);
        let Interface {
            private_key,
            listen_port,
            fwmark,
            // The record's pool decides on addresses; the rest is for devices.
            addresses: _,
            dns: _,
            search_domains: _,
            mtu,
            mut directives,
        } = interface;
        let private_key = private_key.ok_or_else(|| Error::NoKey(path.to_owned()))?;
        let mut device = Device {
            private_key: Some(private_key.clone()),
            listen_port: listen_port.unwrap_or(0),
            fwmark: 0,
            peers: BTreeMap::new(),
        };
        let mut dialled = 0;
        for section in peers {
            let Section {
                line,
                public_key,
                preshared_key,
                allowed_ips,
                endpoint,
                persistent_keepalive,
                directives: others,
            } = section;
            dialled += usize::from(endpoint.is_some());
            directives.extend(others);
            let peer = Peer {
                preshared_key,
                persistent_keepalive: persistent_keepalive.unwrap_or(0),
                allowed_ips: allowed_ips.into_iter().map(normal).collect(),
                ..Peer::default()
            };
            if device.peers.insert(public_key, peer).is_some() {
                return Err(Error::Twice {
                    path: path.to_owned(),
                    line,
                    public_key,
                });
            }
        }
        Ok(Self {
            path: path.to_owned(),
            private_key,
            device,
            names,
            directives,
            mtu,
            fwmark: fwmark.filter(|mark| *mark != 0),
            dialled,
        })
    }

    /// The settings of the file that are not adopted, and what to do instead. `mtu` is the record's.
    #[must_use]
    pub fn notes(&self, server: &ServerId, mtu: Option<u16>) -> Vec<String> {
        let mut notes: Vec<String> = self
            .directives
            .iter()
            .map(|directive| note(directive, server))
            .collect();
        if let Some(ours) = self.mtu.filter(|ours| mtu != Some(*ours)) {
            notes.push(format!(
                "MTU = {ours} is not taken over: `wgctl server set {server} --mtu {ours}`"
            ));
        }
        if self.fwmark.is_some() {
            notes.push("FwMark is not taken over: an interface that the agent makes has none".to_owned());
        }
        if self.dialled > 0 {
            notes.push(format!(
                "Endpoint is not taken over ({} peers): peers dial this host, it does not dial them after a reboot",
                self.dialled
            ));
        }
        notes
    }
}

fn note(directive: &Directive, server: &ServerId) -> String {
    let Directive {
        line,
        key,
        value,
        refusal,
    } = directive;
    let instead = match refusal {
        Refusal::Command if value.to_lowercase().contains("masquerade") => {
            format!("if it masquerades the pool, `wgctl server set {server} --masquerade true` does that")
        }
        Refusal::Command => "the agent runs no commands: use a systemd unit of your own".to_owned(),
        Refusal::WgQuickOnly => "it is an option of wg-quick, which no longer manages the interface".to_owned(),
        Refusal::Unknown => "it is not a known setting of WireGuard".to_owned(),
    };
    format!("line {line}: {key} is not taken over: {instead}")
}

/// The names of the peers, from comments directly above a `[Peer]` section or inside it.
fn names(text: &str, sections: &[Section]) -> BTreeMap<PublicKey, PeerName> {
    let lines: Vec<&str> = text.lines().collect();
    let mut names = BTreeMap::new();
    for (at, section) in sections.iter().enumerate() {
        let head = section.line.saturating_sub(1);
        let next = sections
            .get(at + 1)
            .map_or(lines.len(), |next| next.line.saturating_sub(1));
        let above = comments_above(&lines, head);
        let inside = head..comments_above(&lines, next).start.max(head);
        let named = above.rev().chain(inside).find_map(|line| name(lines.get(line)?));
        if let Some(name) = named {
            names.insert(section.public_key, name);
        }
    }
    names
}

/// The lines directly above `head` that are comments and nothing else.
fn comments_above(lines: &[&str], head: usize) -> std::ops::Range<usize> {
    let above = lines.get(..head).unwrap_or_default();
    let comments = above
        .iter()
        .rev()
        .take_while(|line| line.trim_start().starts_with('#'))
        .count();
    head - comments..head
}

/// The name in a comment: `# alice`, `# Name = alice`, `### Client alice`, `### begin alice ###`.
fn name(line: &&str) -> Option<PeerName> {
    let (_, comment) = line.split_once('#')?;
    let comment = comment.trim_matches(|c: char| c == '#' || c.is_whitespace());
    let named = match comment.split_once(['=', ':']) {
        Some((key, value)) => {
            let keys = ["name", "client", "friendly_name", "peer", "user"];
            keys.contains(&key.trim().to_lowercase().as_str())
                .then_some(value.trim())?
        }
        None => match comment.split_once(' ') {
            Some((word, _)) if word.eq_ignore_ascii_case("end") => return None,
            Some((word, rest)) if ["client", "peer", "begin", "user"].contains(&word.to_lowercase().as_str()) => {
                rest.trim()
            }
            _ => comment,
        },
    };
    named.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> PublicKey {
        PrivateKey::generate().unwrap().public_key()
    }

    fn parsed(text: &str) -> Result<Import, String> {
        Import::parse(Path::new("wg0.conf"), text).map_err(|error| error.to_string())
    }

    fn interface() -> String {
        let key = PrivateKey::generate().unwrap().to_base64();
        format!("[Interface]\nPrivateKey = {}\nListenPort = 51999\n", key.as_str())
    }

    #[test]
    fn names_come_from_comments_above_or_inside_a_section() {
        let keys: Vec<PublicKey> = (0..8).map(|_| key()).collect();
        let text = format!(
            "{}# a note on the interface\n\n# alice\n[Peer]\nPublicKey = {}\n\n[Peer]\n# Name = bob\nPublicKey = {}\n\
             ### Client carol\n[Peer]\nPublicKey = {}\nAllowedIPs = 10.8.0.4/32 # her phone\n\n### begin dave ###\n[Peer]\n\
             PublicKey = {}\n### end dave ###\n### begin erin ###\n[Peer]\nPublicKey = {}\n# PresharedKey = off\n\n\
             # far away\n\n[Peer]\nPublicKey = {}\n[Peer]\nPublicKey = {}\n#   \n[Peer]\n#zoë's phone\nPublicKey = {}\n",
            interface(),
            keys[0],
            keys[1],
            keys[2],
            keys[3],
            keys[4],
            keys[5],
            keys[6],
            keys[7]
        );
        let import = parsed(&text).unwrap();
        let names: Vec<Option<&str>> = keys
            .iter()
            .map(|key| import.names.get(key).map(PeerName::as_str))
            .collect();
        let expected = ["alice", "bob", "carol", "dave"].map(Some);
        assert_eq!(names[..4], expected);
        assert_eq!(names[4..], [Some("erin"), None, None, Some("zoë's phone")]);
        assert_eq!(import.device.peers.len(), 8);
    }

    #[test]
    fn settings_are_read_as_wg_would_and_the_rest_is_told() {
        let key = key();
        let text = format!(
            "{}MTU = 1380\nFwMark = 0x7\nPostUp = iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE; echo s3cret\nPostUp = \
             logger up\nSaveConfig = true\nColour = blue\n[Peer]\nPublicKey = {key}\nAllowedIPs = 10.8.0.7/24, 10.8.0.2\n\
             Endpoint = 192.0.2.7:51820\nPersistentKeepalive = 21\n",
            interface()
        );
        let import = parsed(&text).unwrap();
        let peer = &import.device.peers[&key];
        let nets: Vec<String> = peer.allowed_ips.iter().map(ToString::to_string).collect();
        assert_eq!(
            (nets, peer.persistent_keepalive),
            (vec!["10.8.0.0/24".to_owned(), "10.8.0.2/32".to_owned()], 21)
        );
        assert_eq!(import.device.listen_port, 51999);
        let notes = import.notes(&"los-angeles".parse().unwrap(), None);
        for part in [
            "--masquerade true",
            "runs no commands",
            "option of wg-quick",
            "Colour",
            "--mtu 1380",
            "FwMark",
            "Endpoint",
        ] {
            assert!(
                notes.iter().filter(|note| note.contains(part)).count() == 1,
                "{part}: {notes:#?}"
            );
        }
        assert!(
            !format!("{notes:?} {import:?}").contains("s3cret"),
            "a command line can hold a secret"
        );
        assert_eq!(
            import.notes(&"los-angeles".parse().unwrap(), Some(1380)).len(),
            notes.len() - 1
        );
    }

    #[test]
    fn a_file_that_cannot_be_meant_is_refused_with_its_line() {
        let one = format!("[Peer]\nPublicKey = {}\n", key());
        let twice = format!("{}{one}{one}", interface());
        assert!(
            parsed(&twice).unwrap_err().contains("line 6"),
            "{}",
            parsed(&twice).unwrap_err()
        );
        assert!(
            parsed("[Interface]\nListenPort = 1\n")
                .unwrap_err()
                .contains("PrivateKey")
        );
        let zero = format!("{}[Peer]\nPublicKey = {}=\n", interface(), "A".repeat(43));
        assert!(
            parsed(&zero).unwrap_err().contains("line 5"),
            "{}",
            parsed(&zero).unwrap_err()
        );
        let error = Import::read(Path::new("/nonexistent/wg0.conf"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nonexistent/wg0.conf"));
    }
}
