//! The plane's callers, and the actions and entries of the audit log.
//!
//! Owns [`Caller`], [`Action`] and [`Entry`]. It must not know how a caller was authenticated.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use uuid::Uuid;
use wgctl::api::Changes;
use wgctl::name::{Email, UserId};
use wgctl::{ServerId, Timestamp};

use super::authority::Authority;
use super::safe_text::{name_characters, one_line};

/// The origin of a request: its actor, address and authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The identity of the caller.
    pub actor: Actor,
    /// The address of the caller; `None` if the caller uses the local socket.
    pub ip: Option<IpAddr>,
    /// The authority to act. It is checked again in the transaction of the change.
    pub authority: Authority,
    /// The id of the request, as in the `X-Request-Id` header of its response.
    pub request: Option<Uuid>,
}

impl Caller {
    /// Creates a caller without a request id, whose authority cannot be revoked; see [`Authority::Standing`].
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

/// An identity, in the form in which the audit log names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A person who has logged in.
    User {
        /// The person's id.
        id: UserId,
        /// The person's email, which is the name in the log.
        email: Email,
    },
    /// A server's agent.
    Agent(ServerId),
    /// A user of this host who uses the local socket, identified by name or by numeric uid.
    Local(String),
    /// An API token, identified by its name.
    Token(String),
    /// An unauthenticated caller, identified by the text that was entered as the email.
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
                .take(LONGEST_UNAUTHENTICATED)
                .try_for_each(|c| f.write_char(c)),
        }
    }
}

/// The maximum length of a detail, in characters: 300 for the description of a drift event, plus room for its kind.
const LONGEST_DETAIL: usize = 400;

/// The maximum length of the name of an unauthenticated caller, in characters. Anyone can cause such records, so they
/// are kept short.
const LONGEST_UNAUTHENTICATED: usize = 64;
/// The maximum length of an actor or target, in characters, which is also the maximum length of an email. A server id
/// and a peer name together are shorter.
const LONGEST: usize = 254;

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// An action. The names are stable, because people filter by them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Action { $($(#[$doc])* $variant,)* }

        impl Action {
            /// Returns the action's name in the log.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

actions! {
    /// A peer was created.
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
    /// A peer's configuration was returned to a caller.
    PeerConfigViewed => "wg_client_config_viewed",
    /// A peer's configuration was returned to a caller as a QR code.
    PeerQrcodeViewed => "wg_client_qrcode_viewed",
    /// A user logged in.
    LoginSucceeded => "login_succeeded",
    /// A login was refused.
    LoginFailed => "login_failed",
    /// A user ended all their sessions.
    Logout => "logout",
    /// A user changed their own password.
    PasswordChanged => "password_changed",
    /// A server was registered.
    ServerCreated => "server_created",
    /// A server was changed.
    ServerUpdated => "server_updated",
    /// A server was removed with all its peers.
    ServerDeleted => "server_deleted",
    /// A server's agent token was returned again, in response to a repeated request.
    ServerTokenViewed => "server_token_viewed",
    /// A new token was issued for a server's agent.
    ServerTokenRotated => "server_token_rotated",
    /// A server's agent used its new token, so the old one is no longer valid.
    ServerTokenRetired => "server_token_retired",
    /// A server's host sent its public key for the first time, or sent a different key.
    ServerKeyRecorded => "server_key_recorded",
    /// A host's interface was adopted as it was.
    ServerAdopted => "server_adopted",
    /// A user account was created.
    UserCreated => "user_created",
    /// A user account was changed.
    UserUpdated => "user_updated",
    /// A user account was removed.
    UserDeleted => "user_deleted",
    /// An API token was created.
    TokenCreated => "token_created",
    /// A new API token was returned again, in response to a repeated request.
    TokenViewed => "token_viewed",
    /// An API token covers fewer servers, because one of them was removed.
    TokenUpdated => "token_updated",
    /// An API token was removed and is no longer valid.
    TokenDeleted => "token_deleted",
    /// Sessions are signed with a new key from this record on.
    SigningKeyRotated => "signing_key_rotated",
    /// A backup of the whole database was taken.
    BackupCreated => "backup_created",
    /// The whole database was replaced with a backup.
    DatabaseRestored => "database_restored",
    /// A request was refused because its agent token was invalid, or because it concerned another server's data.
    AgentRefused => "agent_refused",
    /// Old records were removed from this log.
    AuditPruned => "audit_pruned",
    /// This log's checkpoints are signed with another key from this record on.
    AuditKeyChanged => "audit_key_changed",
    /// A server's agent undid external changes to its interface.
    DriftRepaired => "drift_repaired",
    /// A server's agent detected external changes to its interface, and left them in place.
    DriftSeen => "drift_seen",
}

/// One entry for the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The action.
    pub action: Action,
    /// The object of the action: a peer (such as `los-angeles/alice-iphone`), a server, a user, and so on.
    pub target: String,
    /// Further details that are not in the action or the target, if there are any.
    pub detail: Option<String>,
    /// The changes, field by field; `audit_fields` decides which fields are shown.
    pub changes: Changes,
}

impl Entry {
    /// Creates an entry for `action` on `target`.
    pub(crate) fn new(action: Action, target: impl fmt::Display) -> Self {
        Self {
            action,
            target: name_characters(&target.to_string()).take(LONGEST).collect(),
            detail: None,
            changes: Changes::new(),
        }
    }

    /// Adds a detail.
    pub(crate) fn with_detail(self, detail: impl fmt::Display) -> Self {
        let line = one_line(&detail.to_string(), LONGEST_DETAIL);
        Self {
            detail: (!line.is_empty()).then_some(line),
            ..self
        }
    }
}

/// The author of a change, in the form in which the audit log names actors, and the time of the change.
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
