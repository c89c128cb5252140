//! The callers of the plane, and the actions and entries of the audit log.
//!
//! Owns [`Caller`], [`Action`] and [`Entry`]. It must not know how a caller was authenticated.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use uuid::Uuid;
use wgctl::api::Changes;
use wgctl::name::{Email, UserId};
use wgctl::{ServerId, Timestamp};

use super::authority::Authority;
use super::line::{name_characters, one_line};

/// The origin of a request: its actor, address and authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The identity.
    pub actor: Actor,
    /// The address of the caller; none over the local socket.
    pub ip: Option<IpAddr>,
    /// The authority to act; checked again in the transaction of the change.
    pub authority: Authority,
    /// The id of the request, as in its answer's `X-Request-Id`.
    pub request: Option<Uuid>,
}

impl Caller {
    /// A caller without a request, whose authority cannot end meanwhile; see [`Authority::Standing`].
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
        /// The name in the log.
        email: Email,
    },
    /// A server's agent.
    Agent(ServerId),
    /// A user of this host, over the local socket: a name, or a uid in digits.
    Local(String),
    /// An API token, by its name.
    Token(String),
    /// A caller that is not authenticated: the text given as email.
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

/// The longest detail, in characters: the 300 of a drift, and its kind.
const LONGEST_DETAIL: usize = 400;

/// The longest name of an unauthenticated caller, in characters. Anybody can cause such records, so they are short.
const LONGEST_UNAUTHENTICATED: usize = 64;
/// The longest actor or target, in characters: that of an email. A server's id and a peer's name together are shorter.
const LONGEST: usize = 254;

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// An action. The names are stable: people filter by them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Action { $($(#[$doc])* $variant,)* }

        impl Action {
            /// Returns the name in the log.
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
    /// A server's agent used its new token: the old one is no longer valid.
    ServerTokenRetired => "server_token_retired",
    /// A server's host sent its public key for the first time, or a different one.
    ServerKeyRecorded => "server_key_recorded",
    /// A host's interface was adopted as it was.
    ServerAdopted => "server_adopted",
    /// A person was given an account.
    UserCreated => "user_created",
    /// A person's account was changed.
    UserUpdated => "user_updated",
    /// A person's account was removed.
    UserDeleted => "user_deleted",
    /// An API token was created.
    TokenCreated => "token_created",
    /// A new API token was handed out again, to a repeated request.
    TokenViewed => "token_viewed",
    /// An API token covers fewer servers: one of them was removed.
    TokenUpdated => "token_updated",
    /// An API token was removed: it is no longer valid.
    TokenDeleted => "token_deleted",
    /// Sessions are signed with a new key.
    SigningKeyRotated => "signing_key_rotated",
    /// Somebody took a backup of everything.
    BackupCreated => "backup_created",
    /// Everything was replaced by a backup.
    DatabaseRestored => "database_restored",
    /// An agent asked for data of another server.
    AgentRefused => "agent_refused",
    /// Records of this log were removed because of their age.
    AuditPruned => "audit_pruned",
    /// This log's checkpoints are signed with another key from here on.
    AuditKeyChanged => "audit_key_changed",
    /// A server's agent undid changes that others made to its interface.
    DriftRepaired => "drift_repaired",
    /// A server's agent saw changes that others made to its interface, and left them.
    DriftSeen => "drift_seen",
}

/// One entry for the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The action.
    pub action: Action,
    /// The object: `los-angeles/alice-iphone`, a server, a user.
    pub target: String,
    /// A finding, where action and target do not say everything.
    pub detail: Option<String>,
    /// The changes, field by field; `audit_fields` decides which are shown.
    pub changes: Changes,
}

impl Entry {
    /// An entry for `action` on `target`.
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
