//! Who does something, and the words in which the audit log says what was done.
//!
//! Owns [`Caller`] and [`Action`]. It must not know how a caller proved who they are.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use uuid::Uuid;
use wgctl::api::Changes;
use wgctl::name::{Email, UserId};
use wgctl::{ServerId, Timestamp};

use super::authority::Authority;
use super::line::{name_characters, one_line};

/// Who acts, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub actor: Actor,
    /// The address they call from; none over the local socket.
    pub ip: Option<IpAddr>,
    /// What their leave to act rests on; asked again in the transaction of what they do.
    pub authority: Authority,
    /// The request they make it with, as its answer's `X-Request-Id` says.
    pub request: Option<Uuid>,
}

impl Caller {
    /// Somebody whose leave to act cannot end meanwhile, without a request; see [`Authority::Standing`].
    #[must_use]
    pub const fn standing(actor: Actor, ip: Option<IpAddr>) -> Self {
        Self {
            actor,
            ip,
            authority: Authority::Standing,
            request: None,
        }
    }
}

/// An identity as the audit log names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A person who logged in.
    User {
        /// Their id.
        id: UserId,
        /// What they are called in the log.
        email: Email,
    },
    /// A server's agent.
    Agent(ServerId),
    /// A user of this host, over the local socket: a name, or a uid in digits.
    Local(String),
    /// An API token, by its name.
    Token(String),
    /// Somebody who is not (yet) known: the text they gave as email.
    Nobody(String),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User { email, .. } => write!(f, "{email}"),
            Self::Agent(server) => write!(f, "agent:{server}"),
            Self::Local(user) => write!(f, "local:{user}"),
            Self::Token(name) => write!(f, "token:{name}"),
            Self::Nobody(tried) => name_characters(tried)
                .take(LONGEST_OF_STRANGERS)
                .try_for_each(|c| f.write_char(c)),
        }
    }
}

/// Characters of a detail: a drift's 300, and its kind.
const LONGEST_DETAIL: usize = 400;

/// Strangers make records at no cost, so theirs are short.
const LONGEST_OF_STRANGERS: usize = 64;
/// As long as an email may be; a server's id and a client's name are shorter together.
const LONGEST: usize = 254;

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// What was done. The names are stable: people filter by them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Action { $($(#[$doc])* $variant,)* }

        impl Action {
            /// The name in the log.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

actions! {
    /// A peer was made.
    PeerCreated => "wg_client_created",
    /// A peer was enabled.
    PeerEnabled => "wg_client_enabled",
    /// A peer was disabled.
    PeerDisabled => "wg_client_disabled",
    /// A peer was changed.
    PeerUpdated => "wg_client_updated",
    /// A peer was removed.
    PeerDeleted => "wg_client_deleted",
    /// A peer of an adopted interface was recorded.
    PeerImported => "wg_client_imported",
    /// A peer's configuration was handed out.
    PeerConfigViewed => "wg_client_config_viewed",
    /// A peer's configuration was handed out as a QR code.
    PeerQrcodeViewed => "wg_client_qrcode_viewed",
    /// Somebody logged in.
    LoginSucceeded => "login_succeeded",
    /// A login was refused.
    LoginFailed => "login_failed",
    /// Somebody ended all their sessions.
    Logout => "logout",
    /// Somebody changed their own password.
    PasswordChanged => "password_changed",
    /// A server was registered.
    ServerCreated => "server_created",
    /// A server was changed.
    ServerUpdated => "server_updated",
    /// A server was removed with all its peers.
    ServerDeleted => "server_deleted",
    /// A server's agent token was handed out again, to a repeated request.
    ServerTokenViewed => "server_token_viewed",
    /// A server's agent got a new token.
    ServerTokenRotated => "server_token_rotated",
    /// A server's agent used its new token: the old one is dead.
    ServerTokenRetired => "server_token_retired",
    /// A server's host showed its public key for the first time, or another one.
    ServerKeyRecorded => "server_key_recorded",
    /// A host's interface was adopted as it was.
    ServerAdopted => "server_adopted",
    /// A person was given an account.
    UserCreated => "user_created",
    /// A person's account was changed.
    UserUpdated => "user_updated",
    /// A person's account was removed.
    UserDeleted => "user_deleted",
    /// An API token was made.
    TokenCreated => "token_created",
    /// A new API token was handed out again, to a repeated request.
    TokenViewed => "token_viewed",
    /// An API token is for fewer servers: one of them was removed.
    TokenUpdated => "token_updated",
    /// An API token was removed: it is good for nothing any more.
    TokenDeleted => "token_deleted",
    /// Sessions are signed with a new key.
    SigningKeyRotated => "signing_key_rotated",
    /// Somebody took a backup of everything.
    BackupCreated => "backup_created",
    /// Everything was replaced by a backup.
    DatabaseRestored => "database_restored",
    /// An agent asked for what is not its own.
    AgentRefused => "agent_refused",
    /// Records of this log were removed for their age.
    AuditPruned => "audit_pruned",
    /// This log's checkpoints are signed with another key from here on.
    AuditKeyChanged => "audit_key_changed",
    /// A server's agent undid what others had changed on its interface.
    DriftRepaired => "drift_repaired",
    /// A server's agent saw what others changed on its interface, and left it.
    DriftSeen => "drift_seen",
}

/// One line to be of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// What was done.
    pub action: Action,
    /// On what: `los-angeles/alice-iphone`, a server, a user.
    pub target: String,
    /// What was found, where the two do not say it all.
    pub detail: Option<String>,
    /// What changed, field by field: `views` says of what.
    pub changes: Changes,
}

impl Entry {
    /// The entry that `action` was done on `target`.
    pub(crate) fn new(action: Action, target: impl fmt::Display) -> Self {
        Self {
            action,
            target: name_characters(&target.to_string()).take(LONGEST).collect(),
            detail: None,
            changes: Changes::new(),
        }
    }

    /// The same, with what was found.
    pub(crate) fn with_detail(self, detail: impl fmt::Display) -> Self {
        let line = one_line(&detail.to_string(), LONGEST_DETAIL);
        Self {
            detail: (!line.is_empty()).then_some(line),
            ..self
        }
    }
}

/// The author of a change as the audit log names them, and the moment of the change.
pub(crate) struct Author {
    pub(crate) actor: String,
    pub(crate) ip: String,
    pub(crate) request: Option<Uuid>,
    pub(crate) now: Timestamp,
}

impl Author {
    pub(crate) fn new(caller: &Caller, now: Timestamp) -> Self {
        Self {
            actor: name_characters(&caller.actor.to_string()).take(LONGEST).collect(),
            ip: caller.ip.map(|ip| ip.to_string()).unwrap_or_default(),
            request: caller.request,
            now,
        }
    }
}
