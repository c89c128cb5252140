//! The check of a caller's authority inside the transaction of a change.
//!
//! Owns the second check; the first check, in the HTTP layer, only avoids unnecessary work. If a role
//! has been lowered, a user disabled, a session ended or a token revoked since the request arrived, the
//! change is refused and nothing is written. It must not depend on the change itself.

use crate::store::Read;
use wgctl::api::Role;
use wgctl::{ServerId, Timestamp};

use crate::fleet::{Refusal, no_server};
use crate::model::authority::Authority;

/// Refuses an authority that is no longer valid or not sufficient.
pub(crate) fn check(tx: &dyn Read, authority: &Authority, now: Timestamp) -> Result<(), Refusal> {
    let (role, needed) = match authority {
        Authority::Standing => return Ok(()),
        Authority::Agent { server, token_hash } => {
            return match agent(tx, token_hash, now)? {
                Some(owner) if owner == *server => Ok(()),
                _ => Err(ended("this agent token is no longer valid: ask an admin for a new one")),
            };
        }
        Authority::Session { user, epoch, role } => {
            let user = tx.user(user)?;
            let user = user.filter(|user| user.enabled && user.session_epoch == *epoch);
            let user = user.ok_or(Refusal::SessionEnded)?;
            (user.role, *role)
        }
        Authority::Token { id, role, server } => {
            let token = tx.token(id)?;
            let token = token.filter(|token| token.is_good(now));
            let token = token.ok_or_else(|| ended("this API token is no longer valid: ask an admin for a new one"))?;
            // The removal of a server also removes it from the scope of tokens, even if a new server
            // gets the same id.
            if let Some(server) = server
                && token.servers.as_ref().is_some_and(|servers| !servers.contains(server))
            {
                return Err(no_server(server));
            }
            (token.role, *role)
        }
    };
    require(role, needed)
}

/// Refuses a role that is not sufficient.
pub fn require(role: Role, needed: Role) -> Result<(), Refusal> {
    if role >= needed {
        return Ok(());
    }
    Err(Refusal::Forbidden(
        "this needs the admin role: ask an admin to do it".to_owned(),
    ))
}

/// Returns the server that an agent token belongs to, if the token is valid now.
pub(crate) fn agent(tx: &dyn Read, hash: &[u8; 32], now: Timestamp) -> Result<Option<ServerId>, Refusal> {
    let Some(id) = tx.server_by_token(hash)? else {
        return Ok(None);
    };
    let Some(server) = tx.server(&id)? else {
        return Ok(None);
    };
    let old = server.old_token.filter(|old| now < old.until);
    let is_good = server.token_hash == *hash || old.is_some_and(|old| old.hash == *hash);
    Ok(is_good.then_some(id))
}

fn ended(detail: &str) -> Refusal {
    Refusal::Unauthorized(detail.to_owned())
}
