//! Who asks, and what they may: every handler names one of these before it reaches anything.
//!
//! Owns the four permissions: [`Anyone`], [`Viewer`], [`Admin`] and [`Agent`] (and [`Person`], for
//! what is one's own). The fleet is reached only through them. It must not hold business rules.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use wgctl::api::Role;
use wgctl::{ServerId, Timestamp};

use super::app::{App, Shared};
use super::edge::request_id;
use super::peer::{CallerAddress, Peer};
use super::problem::{Failure, Kind};
use crate::fleet::{Account, Actor, Caller, Fleet};

/// What agent tokens begin with.
const AGENT_PREFIX: &str = "szagent_";

/// The mark on a request whose handler has named its permission.
#[derive(Clone)]
pub(super) struct Authorized {
    /// The caller as the audit log names them.
    pub(super) actor: Arc<str>,
    /// Whether it is an agent.
    pub(super) is_agent: bool,
}

enum Identity {
    Person(Box<Account>),
    Local(Arc<str>),
    Agent(ServerId),
}

macro_rules! permission {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }, $check:path) => {
        $(#[$doc])*
        pub(super) struct $name {
            $($(#[$field_doc])* pub(super) $field: $type,)*
            /// What every request shares.
            pub(super) app: App,
        }

        impl $name {
            /// The fleet.
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
    /// No proof of identity is needed.
    Anyone {
        /// Where they call from.
        address: CallerAddress,
    },
    anyone
);
permission!(
    /// A person with the role viewer or admin.
    Viewer {},
    viewer
);
permission!(
    /// A person with the role admin, or a user of this host over the local socket.
    Admin {
        /// Who acts, for the audit log.
        caller: Caller,
    },
    admin
);
permission!(
    /// Somebody who logged in, for what is their own.
    Person {
        /// Who acts, for the audit log.
        caller: Caller,
        /// Their account.
        account: Account,
    },
    person
);
permission!(
    /// The agent of one server.
    Agent {
        /// Whose token it was.
        server: ServerId,
        /// Who acts, for the audit log.
        caller: Caller,
    },
    agent
);

async fn anyone(parts: &mut Parts, app: &App) -> Result<Anyone, Failure> {
    mark(parts, "", false);
    let (app, address) = (app.clone(), address(parts));
    Ok(Anyone { address, app })
}

async fn viewer(parts: &mut Parts, app: &App) -> Result<Viewer, Failure> {
    human(parts, app.shared()).await?;
    Ok(Viewer { app: app.clone() })
}

async fn admin(parts: &mut Parts, app: &App) -> Result<Admin, Failure> {
    match human(parts, app.shared()).await? {
        (caller, Some(account)) if account.role == Role::Admin => Ok(Admin {
            caller,
            app: app.clone(),
        }),
        (caller, None) => Ok(Admin {
            caller,
            app: app.clone(),
        }),
        (_, Some(_)) => Err(Kind::Forbidden.because("this needs the role admin: ask an admin to do it")),
    }
}

async fn person(parts: &mut Parts, app: &App) -> Result<Person, Failure> {
    match human(parts, app.shared()).await? {
        (caller, Some(account)) => Ok(Person {
            caller,
            account: *account,
            app: app.clone(),
        }),
        (_, None) => Err(Kind::Forbidden.because("over the local socket nobody is logged in: log in first")),
    }
}

async fn agent(parts: &mut Parts, app: &App) -> Result<Agent, Failure> {
    let Identity::Agent(server) = identify(parts, app.shared()).await? else {
        return Err(Kind::Unauthorized.because("this endpoint is for agents: send the server's agent token"));
    };
    let caller = Caller {
        actor: Actor::Agent(server.clone()),
        ip: address(parts).0,
        request: request_id(&parts.extensions),
    };
    mark(parts, &caller.actor.to_string(), true);
    Ok(Agent {
        server,
        caller,
        app: app.clone(),
    })
}

/// A person, or a user of this host (who has no account).
async fn human(parts: &mut Parts, shared: &Shared) -> Result<(Caller, Option<Box<Account>>), Failure> {
    let (actor, account) = match identify(parts, shared).await? {
        Identity::Agent(_) => {
            return Err(Kind::Unauthorized.because("this is an agent's token: log in at POST /api/login"));
        }
        Identity::Local(user) => (Actor::Local(user.to_string()), None),
        Identity::Person(account) => {
            let (id, email) = (account.id, account.email.clone());
            (Actor::User { id, email }, Some(account))
        }
    };
    let caller = Caller {
        actor,
        ip: address(parts).0,
        request: request_id(&parts.extensions),
    };
    mark(parts, &caller.actor.to_string(), false);
    Ok((caller, account))
}

/// Who the request's token, or else its connection, proves it is from.
async fn identify(parts: &Parts, shared: &Shared) -> Result<Identity, Failure> {
    let Some(token) = bearer(parts)? else {
        return match parts.extensions.get::<Peer>() {
            Some(Peer::Local(user)) => Ok(Identity::Local(Arc::clone(user))),
            _ => Err(Kind::Unauthorized.because("send a token as Authorization: Bearer …; POST /api/login gives one")),
        };
    };
    if token.starts_with(AGENT_PREFIX) {
        return match shared.fleet.agent_by_token(token).await? {
            Some(server) => Ok(Identity::Agent(server)),
            None => {
                Err(Kind::Unauthorized.because("this agent token is not valid (any more): ask an admin for a new one"))
            }
        };
    }
    let over = || Kind::Unauthorized.because("this token is not valid (any more): log in again at POST /api/login");
    let claims = shared.tokens.verify(token, Timestamp::now()).map_err(|_| over())?;
    let account = shared.fleet.account(&claims.sub).await?.ok_or_else(over)?;
    if !account.enabled || account.session_epoch != claims.epoch || account.role != claims.role {
        return Err(over());
    }
    Ok(Identity::Person(Box::new(account)))
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
        _ => Err(Kind::Unauthorized.because("send one Authorization header: Bearer and a token")),
    }
}

fn address(parts: &Parts) -> CallerAddress {
    parts
        .extensions
        .get::<CallerAddress>()
        .copied()
        .unwrap_or(CallerAddress(None))
}

fn mark(parts: &mut Parts, actor: &str, is_agent: bool) {
    parts.extensions.insert(Authorized {
        actor: actor.into(),
        is_agent,
    });
}
