//! `token` and `key`: the tokens for programs, and the key that signs sessions.
//!
//! Owns the messages of these commands. It must not store a token, which is printed only once.

use clap::{Args, Subcommand};
use serde_json::json;
use wgctl::ServerId;
use wgctl::api::{ApiToken, NewApiToken};
use wgctl::client::PlaneClient;
use wgctl::name::TokenName;
use zeroize::Zeroizing;

use crate::argument_types::Moment;
use crate::commands::user::{RoleName, role_name};
use crate::failure::Failure;
use crate::terminal::output::Output;
use crate::terminal::table::{Table, Tone};
use crate::terminal::text::{ago, join};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create a token for a program and print it, once
    Add(Add),
    /// Show all tokens, with the time of their last use
    List,
    /// Remove a token; it stops working at once
    Remove(Which),
}

#[derive(Args)]
pub(crate) struct Add {
    /// The name of the token, which also appears in the audit log
    name: TokenName,
    /// The role of the token
    #[arg(long, value_enum)]
    role: RoleName,
    /// A server for which the token is valid; may be repeated [default: all servers]
    #[arg(long = "server", value_name = "SERVER")]
    servers: Vec<ServerId>,
    /// The time at which the token expires: 90d, 12h, or 2026-05-06T12:00:00Z [default: never]
    #[arg(long, value_name = "WHEN")]
    expires: Option<Moment>,
}

#[derive(Args)]
pub(crate) struct Which {
    /// The token's name
    name: TokenName,
}

#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// Sign sessions with a new key from now on; nobody is logged out
    Rotate,
}

impl Command {
    pub(crate) async fn run(self, plane: &PlaneClient, out: &Output) -> Result<(), Failure> {
        match self {
            Self::Add(add) => add.run(plane, out).await,
            Self::List => list(plane, out).await,
            Self::Remove(which) => {
                plane.remove_api_token(find(plane, &which.name).await?.id).await?;
                out.done(&format!("{} has been removed and is no longer accepted.\n", which.name))
            }
        }
    }
}

impl KeyCommand {
    pub(crate) async fn run(self, plane: &PlaneClient, out: &Output) -> Result<(), Failure> {
        let Self::Rotate = self;
        let rotated = plane.rotate_signing_key().await?;
        out.answer(&rotated, || {
            format!(
                "Sessions are now signed with the key {}. Sessions signed with the previous key remain valid until \
                 they expire, no later than {}; that key is then erased.\n",
                rotated.kid, rotated.previous_valid_until
            )
        })
    }
}

impl Add {
    async fn run(self, plane: &PlaneClient, out: &Output) -> Result<(), Failure> {
        let new = NewApiToken {
            name: self.name,
            role: self.role.into(),
            servers: (!self.servers.is_empty()).then_some(self.servers),
            expires_at: self.expires.map(|moment| moment.ahead_of(out.now())),
        };
        let made = plane.create_api_token(&new, None).await?;
        let (record, token) = (made.api_token, Zeroizing::new(made.token));
        let answer = json!({ "api_token": record, "token": token.as_str() });
        out.answer(&answer, || {
            let end = record
                .expires_at
                .map_or_else(String::new, |end| format!(", until {end}"));
            format!(
                "{} may act as {} on {}{end}.\n\nToken (shown only once):\n\n  {}\n",
                record.name,
                role_name(record.role),
                servers(&record),
                token.as_str()
            )
        })
    }
}

fn servers(token: &ApiToken) -> String {
    token
        .servers
        .as_ref()
        .map_or_else(|| "all servers".to_owned(), |servers| join(servers))
}

async fn list(plane: &PlaneClient, out: &Output) -> Result<(), Failure> {
    let tokens = plane.api_tokens().await?;
    let now = out.now();
    out.answer(&tokens, || {
        let mut table = Table::new(&["NAME", "ROLE", "SERVERS", "EXPIRES", "LAST USED", "CREATED BY"]);
        for token in &tokens {
            let over = token.expires_at.is_some_and(|end| end <= now);
            let tone = if over { Tone::Quiet } else { Tone::Plain };
            let end = match token.expires_at {
                None => "never".to_owned(),
                Some(end) if over => format!("expired {end}"),
                Some(end) => end.to_string(),
            };
            table.row(
                tone,
                [
                    token.name.as_str(),
                    role_name(token.role),
                    &servers(token),
                    &end,
                    &ago(token.last_used_at, now),
                    &token.created_by,
                ],
            );
        }
        out.table(table)
    })
}

async fn find(plane: &PlaneClient, name: &TokenName) -> Result<ApiToken, Failure> {
    let found = plane.api_tokens().await?.into_iter().find(|token| token.name == *name);
    found.ok_or_else(|| Failure::NotFound(format!("there is no token {name}: see `wgctl token list`")))
}
