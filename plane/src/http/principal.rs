//! Callers and their permissions. Every handler names a permission as its first parameter.
//!
//! Owns the permissions: [`Anyone`], [`Viewer`] and [`ScopedViewer`], [`Admin`] and [`Keeper`], [`Person`]
//! for the caller's own account, and [`Agent`]. Handlers reach the fleet only through them. It must not
//! contain business rules.
//!
//! An API token may be limited to some servers. This module enforces the limit on all routes alike. A route under
//! `{server}` responds for every other server as if that server did not exist. A route that does not concern a single
//! server refuses such a token, unless its handler names [`ScopedViewer`] and filters its results.

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::header;
use axum::http::request::Parts;
use uuid::Uuid;
use wgctl::ServerId;
use wgctl::api::Role;

use super::app::{App, AppState};
use super::problem::{Failure, Kind};
use super::request_id::request_id;
use super::serve::connection_limits::ConnectionTrust;
use super::serve::origin::{CallerAddress, Origin};
use crate::auth::{Principal, WriteThrottle};
use crate::fleet::{self, Account, Actor, Authority, Caller, Fleet, Grant, Scope};

/// The local user whose changes are not counted: root can do more harm in other ways.
const ROOT: &str = "root";

/// The mark on a request whose permission has been checked.
#[derive(Clone)]
pub(super) struct PermissionMark {
    /// The caller's permanent id, because a name may later belong to another caller. `None` for an anonymous caller.
    pub(super) who: Option<Arc<str>>,
    /// True if the caller is an agent.
    pub(super) is_agent: bool,
}

enum Identity {
    Person(Box<Account>),
    Local(Arc<str>),
    Token(Box<Grant>),
    Agent(ServerId, Box<Caller>),
}

macro_rules! permission {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }, $check:path) => {
        $(#[$doc])*
        pub(super) struct $name {
            $($(#[$field_doc])* pub(super) $field: $type,)*
            /// The state that all requests share.
            pub(super) app: App,
        }

        impl $name {
            /// Returns the fleet.
            pub(super) fn fleet(&self) -> &Fleet {
                &self.app.shared().fleet
            }
        }

        impl FromRequestParts<App> for $name {
            type Rejection = Failure;

            async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
                $check(parts, app).await
            }
        }
    };
}

permission!(
    /// Any caller. No authentication is needed.
    Anyone {
        /// The caller's address.
        address: CallerAddress,
        /// The request's id, for the audit log.
        request: Option<Uuid>,
    },
    anyone
);
permission!(
    /// A person or an API token with the role viewer or admin.
    Viewer {},
    viewer
);
permission!(
    /// Like [`Viewer`], for routes that concern all servers. A token that is limited to some servers is accepted,
    /// and the handler shows only the servers in `scope`.
    ScopedViewer {
        /// The servers that may be shown.
        scope: Scope,
    },
    scoped_viewer
);
permission!(
    /// A person or an API token with the role admin, or a user of this host over the local socket.
    Admin {
        /// The caller, for the audit log.
        caller: Caller,
    },
    admin
);
permission!(
    /// Like [`Admin`], but without API tokens, for routes with which a token could extend its own permissions:
    /// users, tokens, keys, and the restore that replaces them all.
    Keeper {
        /// The caller, for the audit log.
        caller: Caller,
    },
    keeper
);
permission!(
    /// A person who is logged in, for routes that concern their own account.
    Person {
        /// The caller, for the audit log.
        caller: Caller,
        /// The person's account.
        account: Account,
    },
    person
);
permission!(
    /// The agent of one server.
    Agent {
        /// The server that the token belongs to.
        server: ServerId,
        /// The caller, for the audit log.
        caller: Caller,
    },
    agent
);

async fn anyone(parts: &mut Parts, app: &App) -> Result<Anyone, Failure> {
    mark(parts, None);
    // An agent that measures its round-trip time sends its token, so that its connection stays authenticated.
    if parts.headers.contains_key(header::AUTHORIZATION) && prove(parts, app.shared()).is_ok() {
        stand(parts);
    }
    let (app, address, request) = (app.clone(), address(parts), request_id(&parts.extensions));
    Ok(Anyone { address, request, app })
}

async fn viewer(parts: &mut Parts, app: &App) -> Result<Viewer, Failure> {
    let human = human(parts, app.shared(), Role::Viewer).await?;
    human.stays_in_scope(parts, app).await?;
    Ok(Viewer { app: app.clone() })
}

async fn scoped_viewer(parts: &mut Parts, app: &App) -> Result<ScopedViewer, Failure> {
    let scope = human(parts, app.shared(), Role::Viewer).await?.scope;
    Ok(ScopedViewer {
        scope,
        app: app.clone(),
    })
}

async fn admin(parts: &mut Parts, app: &App) -> Result<Admin, Failure> {
    let mut human = human(parts, app.shared(), Role::Admin).await?;
    let reached = human.stays_in_scope(parts, app).await?;
    if let Authority::Token { server, .. } = &mut human.caller.authority {
        *server = reached;
    }
    Ok(Admin {
        caller: human.caller,
        app: app.clone(),
    })
}

impl Admin {
    /// Counts a read of a secret, which leaves an audit record just as a change does.
    pub(super) fn looks(&self) -> Result<(), Failure> {
        count(&self.app.shared().looks, &self.caller, "reads of secrets")
    }
}

async fn keeper(parts: &mut Parts, app: &App) -> Result<Keeper, Failure> {
    let human = human(parts, app.shared(), Role::Admin).await?;
    if matches!(human.caller.actor, Actor::Token(_)) {
        return Err(Kind::Forbidden.because("an API token may not do this: log in as an admin"));
    }
    Ok(Keeper {
        caller: human.caller,
        app: app.clone(),
    })
}

async fn person(parts: &mut Parts, app: &App) -> Result<Person, Failure> {
    let human = human(parts, app.shared(), Role::Viewer).await?;
    match human.account {
        Some(account) => Ok(Person {
            caller: human.caller,
            account: *account,
            app: app.clone(),
        }),
        None => Err(Kind::Forbidden.until_login("this is only for a person who is logged in")),
    }
}

async fn agent(parts: &mut Parts, app: &App) -> Result<Agent, Failure> {
    let not_agent = || {
        Kind::Unauthorized
            .because("this is only for agents: use an agent token, which `wgctl server token SERVER` creates")
    };
    // A caller with another kind of token must not be told to log in.
    if !is_an_agents(bearer(parts)?) {
        return Err(not_agent());
    }
    let Identity::Agent(server, caller) = identify(parts, app.shared()).await? else {
        return Err(not_agent());
    };
    // An agent's changes are not counted, because most of them answer people's requests. Its work is limited by
    // permits (`relay`), and its bodies by their maximum size.
    mark(parts, Some(&caller));
    Ok(Agent {
        server,
        caller: *caller,
        app: app.clone(),
    })
}

/// A person, a program with an API token, or a local user (who has no account).
struct Human {
    caller: Caller,
    account: Option<Box<Account>>,
    scope: Scope,
}

impl Human {
    /// Checks that the request stays within the caller's servers. Returns the requested server if the caller is
    /// limited to some servers.
    async fn stays_in_scope(&self, parts: &mut Parts, app: &App) -> Result<Option<ServerId>, Failure> {
        if self.scope.is_everything() {
            return Ok(None);
        }
        let parameters = RawPathParams::from_request_parts(parts, app).await;
        let parameters = parameters.map_err(|_| Kind::NotFound.because("the path is not UTF-8"))?;
        let server = parameters.iter().find(|(name, _)| *name == "server");
        match server.map(|(_, text)| text.parse::<ServerId>()) {
            Some(Ok(server)) if self.scope.admits(&server) => Ok(Some(server)),
            Some(Ok(server)) => Err(fleet::no_server(&server).into()),
            // The path extractor refuses a malformed server id.
            Some(Err(_)) => Ok(None),
            None => Err(Kind::Forbidden.because("this API token is limited to some servers: use one for all servers")),
        }
    }
}

async fn human(parts: &mut Parts, shared: &AppState, needed: Role) -> Result<Human, Failure> {
    let identity = identify(parts, shared).await?;
    let (ip, request) = (address(parts).0, request_id(&parts.extensions));
    let (role, human) = match identity {
        Identity::Agent(..) => {
            return Err(Kind::Unauthorized.until_login("this is an agent's token"));
        }
        Identity::Local(user) => {
            let caller = Caller {
                request,
                ..Caller::standing(Actor::Local(user.to_string()), ip)
            };
            (Role::Admin, Human::all(caller, None))
        }
        Identity::Token(grant) => {
            let caller = Caller {
                authority: Authority::Token {
                    id: grant.id,
                    role: needed,
                    server: None,
                },
                request,
                ..Caller::standing(Actor::Token(grant.name.to_string()), ip)
            };
            let human = Human {
                scope: grant.scope,
                ..Human::all(caller, None)
            };
            (grant.role, human)
        }
        Identity::Person(account) => {
            let caller = Caller {
                authority: account.authority(needed),
                request,
                ..Caller::standing(account.actor(), ip)
            };
            (account.role, Human::all(caller, Some(account)))
        }
    };
    fleet::require(role, needed)?;
    if !parts.method.is_safe() {
        count(&shared.writes, &human.caller, "changes")?;
    }
    mark(parts, Some(&human.caller));
    Ok(human)
}

/// Counts an operation that leaves an audit record. Refuses it if the caller has made too many.
fn count(throttle: &WriteThrottle, caller: &Caller, what: &str) -> Result<(), Failure> {
    let Some(principal) = principal(caller) else {
        return Ok(());
    };
    throttle.check(&principal).map_err(|seconds| {
        let detail = format!("too many {what} at once: try again in {seconds} s");
        Kind::TooManyRequests.because(detail).retry_after(seconds)
    })
}

/// Returns the principal whose operations are counted, or `None` for root and for agents.
fn principal(caller: &Caller) -> Option<Principal> {
    match (&caller.authority, &caller.actor) {
        (Authority::Session { user, .. }, _) => Some(Principal::User(*user)),
        (Authority::Token { id, .. }, _) => Some(Principal::Token(*id)),
        (Authority::Standing, Actor::Local(user)) if user != ROOT => Some(Principal::Local(user.as_str().into())),
        (Authority::Standing | Authority::Agent { .. }, _) => None,
    }
}

impl Human {
    fn all(caller: Caller, account: Option<Box<Account>>) -> Self {
        Self {
            caller,
            account,
            scope: Scope::default(),
        }
    }
}

/// Identifies the caller by the request's token or, without a token, by its connection.
async fn identify(parts: &Parts, shared: &AppState) -> Result<Identity, Failure> {
    let identity = prove(parts, shared);
    match &identity {
        Ok(_) => stand(parts),
        Err(failure) if failure.kind() == Kind::Unauthorized && is_an_agents(bearer(parts)?) => {
            note_refused_agent(parts, shared).await;
        }
        Err(_) => {}
    }
    identity
}

/// Marks the connection as authenticated.
fn stand(parts: &Parts) {
    if let Some(connection) = parts.extensions.get::<ConnectionTrust>() {
        connection.prove();
    }
}

fn is_an_agents(token: Option<&str>) -> bool {
    token.is_some_and(|token| token.starts_with(fleet::AGENT_PREFIX))
}

fn prove(parts: &Parts, shared: &AppState) -> Result<Identity, Failure> {
    let Some(token) = bearer(parts)? else {
        return match parts.extensions.get::<Origin>() {
            Some(Origin::Local(user)) => Ok(Identity::Local(Arc::clone(user))),
            Some(Origin::Tcp(_)) | None => Err(Kind::Unauthorized.until_login("a token is needed")),
        };
    };
    if token.starts_with(fleet::AGENT_PREFIX) {
        let agent = shared
            .fleet
            .agent_by_token(token, address(parts).0, request_id(&parts.extensions))?;
        let Some((server, caller)) = agent else {
            return Err(Kind::Unauthorized
                .because("this agent token is invalid or no longer valid: get one from `wgctl server token SERVER`"));
        };
        return Ok(Identity::Agent(server, Box::new(caller)));
    }
    if token.starts_with(fleet::TOKEN_PREFIX) {
        let grant = shared.fleet.token_grant(token)?;
        let grant = grant.ok_or_else(|| {
            Kind::Unauthorized.because("this API token is invalid or no longer valid: ask an admin for a new one")
        })?;
        return Ok(Identity::Token(Box::new(grant)));
    }
    let over = || Kind::Unauthorized.until_login("this token is invalid or no longer valid");
    let claims = shared.tokens.verify(token, shared.fleet.now()).map_err(|_| over())?;
    let account = shared.fleet.account(&claims.sub)?.ok_or_else(over)?;
    if !account.enabled || account.session_epoch != claims.epoch || account.role != claims.role {
        return Err(over());
    }
    Ok(Identity::Person(Box::new(account)))
}

/// Records a refused agent token. An error here is only logged, because the request is refused in any case.
async fn note_refused_agent(parts: &Parts, shared: &AppState) {
    let (target, ip) = (parts.uri.path(), address(parts).0);
    let noted = shared
        .fleet
        .agent_token_refused(target, ip, request_id(&parts.extensions));
    if let Err(error) = noted.await {
        tracing::warn!(%error, "a refused agent token could not be recorded");
    }
}

fn bearer(parts: &Parts) -> Result<Option<&str>, Failure> {
    let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let token = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|_| values.next().is_none());
    match token {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(Kind::Unauthorized.because("send one Authorization header: Bearer, a space and the token")),
    }
}

fn address(parts: &Parts) -> CallerAddress {
    parts
        .extensions
        .get::<CallerAddress>()
        .copied()
        .unwrap_or(CallerAddress(None))
}

fn mark(parts: &mut Parts, caller: Option<&Caller>) {
    parts.extensions.insert(PermissionMark {
        who: caller.map(|caller| who(caller).into()),
        is_agent: caller.is_some_and(|caller| matches!(caller.actor, Actor::Agent(_))),
    });
}

fn who(caller: &Caller) -> String {
    match &caller.authority {
        Authority::Session { user, .. } => format!("user:{user}"),
        Authority::Token { id, .. } => format!("token:{id}"),
        Authority::Agent { .. } | Authority::Standing => caller.actor.to_string(),
    }
}
