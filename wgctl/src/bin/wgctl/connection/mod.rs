//! The plane that a command talks to, and the identity that it uses.
//!
//! Owns the order of precedence: `--socket`, `--plane`, `SENTRAZONE_URL`, the login, the local socket. It
//! must not send a token to any plane other than the one it belongs to, or unencrypted over a network unless
//! that is allowed explicitly.

pub(crate) mod credentials;
pub(crate) mod trust_anchor;

use std::path::{Path, PathBuf};

use clap::Args;
use url::{Host, Url};
use wgctl::api::base_url;
use wgctl::client::{PlaneClient, Target, Trust};
use wgctl::{Pin, Timestamp};
use zeroize::Zeroizing;

use self::credentials::Credentials;
use self::trust_anchor::TrustAnchor;
use crate::failure::Failure;
use crate::terminal::prompt;

/// The socket on which a plane listens for callers on its own machine.
const LOCAL_SOCKET: &str = "/run/sentrazone/plane.sock";

/// The options that select the plane. Without any of them, the plane comes from the environment or the stored login,
/// or is the one on this machine.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// The plane to talk to
    #[arg(long, global = true, help_heading = "Connection", value_name = "URL", value_parser = base_url, conflicts_with = "socket")]
    pub(crate) plane: Option<Url>,
    /// Read the token from this file ("-" for stdin)
    #[arg(
        long,
        global = true,
        help_heading = "Connection",
        value_name = "FILE",
        conflicts_with = "socket"
    )]
    pub(crate) token_file: Option<PathBuf>,
    /// The unix socket of a plane on this machine
    #[arg(long, global = true, help_heading = "Connection", value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Certificates (PEM) to trust in addition to the system's
    #[arg(long, global = true, help_heading = "Connection", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// The pin of the plane's key, as `sentrazone-plane fingerprint` prints it; certificate authorities are
    /// then ignored
    #[arg(
        long,
        global = true,
        help_heading = "Connection",
        value_name = "sha256:…",
        conflicts_with = "ca_file"
    )]
    pub(crate) pin: Option<Pin>,
    /// Allow tokens and passwords to be sent over plain http to another machine
    #[arg(long, global = true, help_heading = "Connection")]
    pub(crate) allow_plaintext: bool,
}

/// A constructor for clients.
type Make = fn(Target, &Trust) -> Result<PlaneClient, wgctl::client::Error>;

/// The settings from the environment.
#[derive(Default)]
struct Environment {
    url: Option<Url>,
    token: Option<Zeroizing<String>>,
}

/// The plane that was chosen, with its token and trust anchor.
struct Choice {
    target: Target,
    token: Option<Zeroizing<String>>,
    anchor: TrustAnchor,
}

impl Options {
    /// Creates the client for the chosen plane.
    pub(crate) fn connect(&self, now: Timestamp) -> Result<PlaneClient, Failure> {
        self.connect_as(PlaneClient::trusting, now)
    }

    /// Creates the client for backups and restores on the chosen plane.
    pub(crate) fn connect_for_copies(&self, now: Timestamp) -> Result<PlaneClient, Failure> {
        self.connect_as(PlaneClient::for_copies, now)
    }

    fn connect_as(&self, make: Make, now: Timestamp) -> Result<PlaneClient, Failure> {
        let token = self.token_file.as_deref().map(read_token).transpose()?;
        let login = match &self.socket {
            Some(_) => None,
            None => credentials::path()
                .ok()
                .map(|path| credentials::load(&path))
                .transpose()?
                .flatten(),
        };
        let choice = self.choose(token, environment()?, login, now)?;
        let client = self.make(make, choice.target, &choice.anchor, choice.token.is_some())?;
        Ok(match choice.token {
            Some(token) => client.with_token(token),
            None => client,
        })
    }

    /// Creates a client for `target`, which `anchor` authenticates. `secrets` is true if secrets will be sent there.
    pub(crate) fn client(&self, target: Target, anchor: &TrustAnchor, secrets: bool) -> Result<PlaneClient, Failure> {
        self.make(PlaneClient::trusting, target, anchor, secrets)
    }

    /// Returns the trust anchor from the options.
    pub(crate) fn anchor(&self) -> TrustAnchor {
        TrustAnchor {
            ca_file: self.ca_file.clone(),
            pin: self.pin,
        }
    }

    fn make(&self, make: Make, target: Target, anchor: &TrustAnchor, secrets: bool) -> Result<PlaneClient, Failure> {
        if let Target::Url(url) = &target
            && secrets
            && !self.allow_plaintext
            && readable_on_the_way(url)
        {
            return Err(Failure::Usage(format!(
                "{url} is plain http, so anyone on the network path could read the token: use https, or --allow-plaintext"
            )));
        }
        if let Target::Url(url) = &target
            && anchor.pin.is_some()
            && url.scheme() == "http"
        {
            return Err(Failure::Usage(format!(
                "{url} is plain http and has no key for --pin to check: use https"
            )));
        }
        Ok(make(target, &anchor.trust()?)?)
    }

    fn choose(
        &self,
        given: Option<Zeroizing<String>>,
        environment: Environment,
        login: Option<Credentials>,
        now: Timestamp,
    ) -> Result<Choice, Failure> {
        let anchor = self.anchor();
        if let Some(path) = &self.socket {
            return Ok(Choice {
                target: Target::Socket(path.clone()),
                token: None,
                anchor,
            });
        }
        let named = self.plane.clone().or_else(|| environment.url.clone());
        let Some(url) = named.or_else(|| login.as_ref().map(|login| login.url.clone())) else {
            if given.is_some() || environment.token.is_some() {
                return Err(Failure::Usage(
                    "there is a token, but no plane to use it with: add --plane URL".to_owned(),
                ));
            }
            return Ok(Choice {
                target: Target::Socket(LOCAL_SOCKET.into()),
                token: None,
                anchor,
            });
        };
        // The environment's token belongs to the environment's plane, and the login's token to the login's plane.
        let from_environment = environment
            .token
            .filter(|_| environment.url.as_ref().is_none_or(|of| *of == url));
        if let Some(token) = given.or(from_environment) {
            let anchor = match login.filter(|login| login.url == url) {
                Some(login) => anchor.or(login.anchor()),
                None => anchor,
            };
            return Ok(Choice {
                target: Target::Url(url),
                token: Some(token),
                anchor,
            });
        }
        let Some(login) = login.filter(|login| login.url == url) else {
            return Ok(Choice {
                target: Target::Url(url),
                token: None,
                anchor,
            });
        };
        if login.expires_at <= now {
            return Err(Failure::Local(format!(
                "the login expired at {}: wgctl login {url}",
                login.expires_at
            )));
        }
        Ok(Choice {
            target: Target::Url(url),
            token: Some(Zeroizing::new(login.token.clone())),
            anchor: anchor.or(login.anchor()),
        })
    }
}

fn environment() -> Result<Environment, Failure> {
    let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let url = text("SENTRAZONE_URL").map(|url| base_url(&url)).transpose();
    Ok(Environment {
        url: url.map_err(|error| Failure::Usage(format!("SENTRAZONE_URL: {error}")))?,
        token: text("SENTRAZONE_TOKEN").map(Zeroizing::new),
    })
}

fn read_token(path: &Path) -> Result<Zeroizing<String>, Failure> {
    if path == Path::new("-") {
        return prompt::line_of_stdin("token");
    }
    let text = std::fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|error| Failure::file("read", path, &error))?;
    let token = Zeroizing::new(text.trim().to_owned());
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(Failure::Local(format!(
            "{} does not contain exactly one token",
            path.display()
        )));
    }
    Ok(token)
}

/// Returns true if the traffic to this URL crosses a network unencrypted.
fn readable_on_the_way(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "http" && !loopback
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    fn login(at: &str) -> Option<Credentials> {
        Some(Credentials {
            url: url(at),
            token: "from-login".into(),
            expires_at: Timestamp::from_unix(100),
            ca_file: None,
            pin: None,
        })
    }

    fn environment(at: Option<&str>) -> Environment {
        Environment {
            url: at.map(url),
            token: Some(Zeroizing::new("from-environment".into())),
        }
    }

    fn chosen(plane: Option<&str>, environment: Environment, login: Option<Credentials>) -> (String, Option<String>) {
        let options = Options {
            plane: plane.map(url),
            ..Options::default()
        };
        let choice = options
            .choose(None, environment, login, Timestamp::from_unix(0))
            .ok()
            .unwrap();
        (choice.target.to_string(), choice.token.map(|token| token.to_string()))
    }

    #[test]
    fn the_most_specific_setting_takes_precedence() {
        let none = Environment::default;
        assert_eq!(chosen(None, none(), None), (LOCAL_SOCKET.to_owned(), None));
        assert_eq!(
            chosen(None, none(), login("https://l")),
            ("https://l".into(), Some("from-login".into()))
        );
        let both = chosen(None, environment(Some("https://e")), login("https://l"));
        assert_eq!(both, ("https://e".into(), Some("from-environment".into())));
        assert_eq!(
            chosen(Some("https://p"), none(), login("https://l")),
            ("https://p".into(), None)
        );
    }

    #[test]
    fn a_token_is_sent_only_to_the_plane_it_belongs_to() {
        assert_eq!(
            chosen(Some("https://p"), environment(Some("https://e")), login("https://l")),
            ("https://p".into(), None)
        );
        let same = chosen(Some("https://l"), environment(Some("https://e")), login("https://l"));
        assert_eq!(same, ("https://l".into(), Some("from-login".into())));
        let unbound = chosen(Some("https://p"), environment(None), None);
        assert_eq!(unbound, ("https://p".into(), Some("from-environment".into())));
    }

    #[test]
    fn an_expired_login_is_reported() {
        let choice = Options::default().choose(
            None,
            Environment::default(),
            login("https://l"),
            Timestamp::from_unix(100),
        );
        assert!(choice.err().unwrap().to_string().contains("wgctl login https://l"));
    }

    #[test]
    fn secrets_are_not_sent_unencrypted() {
        for (text, readable) in [
            ("http://127.0.0.1:8080", false),
            ("http://[::1]:8080", false),
            ("http://localhost", false),
            ("https://plane.example.com", false),
            ("http://plane.example.com", true),
            ("http://10.0.0.1", true),
        ] {
            assert_eq!(readable_on_the_way(&url(text)), readable, "{text}");
        }
    }
}
