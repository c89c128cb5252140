//! Existing names as completion candidates.
//!
//! Owns the kind of name that each argument takes, and the request to the plane, which may take one second.
//! It must not report errors: after any error, there are no candidates.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgMatches, Command, FromArgMatches as _};
use clap_complete::{ArgValueCompleter, CompletionCandidate};
use wgctl::client::PlaneClient;
use wgctl::device::userspace;
use wgctl::{Clock, ServerId};

use crate::commands::show_interfaces;
use crate::commands::user::role_name;
use crate::connection::Options;
use crate::terminal::text::{join, plain};

/// The longest time for which a user who presses Tab waits for a plane.
const PATIENCE: Duration = Duration::from_secs(1);
/// The maximum number of names that are offered.
const MAX_NAMES: u32 = 200;

/// The kind of object that an argument names.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Server,
    Peer,
    User,
    Token,
    Interface,
}

/// Returns the kind of object that this argument of this command names, if the object must already exist.
fn kind(path: &str, argument: &str) -> Option<Kind> {
    match (path, argument) {
        ("server add" | "user add", _) => None,
        (_, "server" | "servers") => Some(Kind::Server),
        (path, "id") if path.starts_with("server ") => Some(Kind::Server),
        (path, "peer") if path.starts_with("peer ") => Some(Kind::Peer),
        (path, "email") if path.starts_with("user ") => Some(Kind::User),
        ("token remove", "name") => Some(Kind::Token),
        ("show", "interface") => Some(Kind::Interface),
        _ => None,
    }
}

/// Returns the commands with existing names as candidates. `quotes` is true if the shell itself quotes candidates
/// where necessary.
pub(super) fn with_names(cli: fn() -> Command, words: &[OsString], quotes: bool) -> Command {
    let line = Arc::new(Line {
        cli,
        words: words.to_vec(),
        quotes,
    });
    attach(cli(), "", &line)
}

fn attach(command: Command, path: &str, line: &Arc<Line>) -> Command {
    let command = command.mut_args(|argument| match kind(path, argument.get_id().as_str()) {
        None => argument,
        Some(kind) => {
            let line = Arc::clone(line);
            argument.add(ArgValueCompleter::new(move |current: &OsStr| {
                line.candidates(kind, current)
            }))
        }
    });
    command.mut_subcommands(|subcommand| {
        let path = format!("{path} {}", subcommand.get_name());
        attach(subcommand, path.trim_start(), line)
    })
}

/// The line that is being typed.
struct Line {
    cli: fn() -> Command,
    words: Vec<OsString>,
    quotes: bool,
}

impl Line {
    fn candidates(&self, kind: Kind, current: &OsStr) -> Vec<CompletionCandidate> {
        let found = match kind {
            Kind::Interface => show_interfaces::wireguard_interfaces(Path::new(show_interfaces::INTERFACES))
                .ok()
                .map(|names| {
                    let names = names.into_iter().chain(userspace::interfaces());
                    let names = names.map(|name| (name.to_string(), String::new()));
                    names.collect()
                }),
            kind => self.ask(kind, current),
        };
        let beginning = current.to_string_lossy();
        let fits = |name: &str| name.starts_with(&*beginning) && (self.quotes || is_word(name));
        let candidate = |(name, about): (String, String)| {
            let about = Some(plain(&about).into()).filter(|_| !about.is_empty());
            CompletionCandidate::new(name).help(about)
        };
        let found = found.unwrap_or_default().into_iter();
        found.filter(|(name, _)| fits(name)).map(candidate).collect()
    }

    fn ask(&self, kind: Kind, current: &OsStr) -> Option<Vec<(String, String)>> {
        let (plane, matches) = self.plane()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .ok()?;
        let asked = async { tokio::time::timeout(PATIENCE, names(&plane, kind, &matches, current)).await };
        let answer = runtime.block_on(asked);
        // A name server that does not respond must not delay the shell.
        runtime.shutdown_background();
        answer.ok().flatten()
    }

    /// Returns the plane that the words so far select, and the arguments that they contain.
    fn plane(&self) -> Option<(PlaneClient, ArgMatches)> {
        let said = self.words.split_last().map(|(_, said)| said)?;
        let matches = (self.cli)().ignore_errors(true).try_get_matches_from(said).ok()?;
        let options = Options::from_arg_matches(&matches).ok()?;
        if options.token_file.as_deref() == Some(Path::new("-")) {
            return None;
        }
        Some((options.connect(Clock::default().now()).ok()?, matches))
    }
}

/// Returns the existing names, each with a short description.
async fn names(plane: &PlaneClient, kind: Kind, said: &ArgMatches, current: &OsStr) -> Option<Vec<(String, String)>> {
    match kind {
        Kind::Server => {
            let servers = plane.servers().await.ok()?.into_iter();
            let about = |server: wgctl::api::Server| (server.id.to_string(), server.endpoint.to_string());
            Some(servers.map(about).collect())
        }
        Kind::Peer => {
            let mut said = said;
            while let Some((_, of_subcommand)) = said.subcommand() {
                said = of_subcommand;
            }
            let server = said.try_get_one::<ServerId>("server").ok()??;
            let beginning = current.to_string_lossy();
            let peers = plane
                .peers_like(server, &beginning, Some(MAX_NAMES))
                .await
                .ok()?
                .into_iter();
            let about = |peer: wgctl::api::Peer| (peer.name.to_string(), join(&peer.addresses));
            Some(peers.map(about).collect())
        }
        Kind::User => {
            let users = plane.users().await.ok()?.into_iter();
            Some(users.map(|user| (user.email.to_string(), String::new())).collect())
        }
        Kind::Token => {
            let tokens = plane.api_tokens().await.ok()?.into_iter();
            let about = |token: wgctl::api::ApiToken| (token.name.to_string(), role_name(token.role).to_owned());
            Some(tokens.map(about).collect())
        }
        Kind::Interface => None,
    }
}

/// Returns true if every shell treats the text as one literal word.
fn is_word(text: &str) -> bool {
    !text.starts_with('-') && text.chars().all(|c| c.is_alphanumeric() || "-_.@+".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_arguments_that_name_existing_objects_are_completed() {
        assert_eq!(kind("server show", "id"), Some(Kind::Server));
        assert_eq!(kind("peer rename", "peer"), Some(Kind::Peer));
        assert_eq!(kind("history", "server"), Some(Kind::Server));
        assert_eq!(kind("token remove", "name"), Some(Kind::Token));
        assert_eq!(kind("token add", "name"), None);
        assert_eq!(kind("server add", "id"), None);
        assert_eq!(kind("user add", "email"), None);
        assert_eq!(kind("peer rename", "new_name"), None);
    }
}
