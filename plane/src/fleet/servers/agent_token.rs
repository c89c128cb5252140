//! Agent tokens: authentication and rotation.
//!
//! Owns the grace period of the old token, and the invalidation of tokens, which ends the polls that
//! use them. It must not store a token in plaintext: a token is stored as a hash.

use std::net::IpAddr;
use std::time::Duration;

use uuid::Uuid;
use wgctl::api::{AgentToken, TokenRotation};
use wgctl::{ServerId, Timestamp};

use super::existing::existing;
use crate::fleet::people::api_tokens::{new_token, token_hash};
use crate::fleet::people::authority;
use crate::fleet::{Actor, Authority, Caller, Fleet, Refusal};
use crate::model::caller::{Action, Entry};
use crate::model::records::OldToken;
use crate::store::DurableWrite;
use crate::store::{Change, Read};

/// The prefix of agent tokens.
pub const AGENT_PREFIX: &str = wgctl::api::AGENT_TOKEN_PREFIX;

/// The longest time for which an old token stays valid alongside the new one, in seconds: a week.
const LONGEST_GRACE: u32 = 7 * 24 * 3600;

impl Fleet {
    /// Returns the server that an agent token belongs to, and the agent as a caller from `ip`; `None` if
    /// the token is invalid. The call is cheap.
    pub fn agent_by_token(
        &self,
        token: &str,
        ip: Option<IpAddr>,
        request: Option<Uuid>,
    ) -> Result<Option<(ServerId, Caller)>, Refusal> {
        let (token_hash, now) = (token_hash(token), self.now());
        let known = self.store().read(|tx| authority::agent(tx, &token_hash, now))?;
        let Some(server) = known else {
            return Ok(None);
        };
        let caller = Caller {
            authority: Authority::Agent {
                server: server.clone(),
                token_hash,
            },
            request,
            ..Caller::standing(Actor::Agent(server.clone()), ip)
        };
        Ok(Some((server, caller)))
    }

    /// Records that the agent polls with this token. If it is the new token, an old token that is still
    /// in its grace period becomes invalid. Other requests with the new token, such as those
    /// sent by `enroll`, do not invalidate the old one.
    pub async fn note_token_used(&self, caller: &Caller, server: &ServerId) {
        let taken = async {
            let replaces = self.store().read(|tx| replaces(tx, &caller.authority))?;
            match replaces {
                true => self.retire_agent_token(caller, server).await,
                false => Ok(()),
            }
        };
        if let Err(error) = taken.await {
            tracing::warn!(%server, %error, "the agent's old token could not be retired; retrying on the agent's next poll");
        }
    }

    /// Creates a new agent token. The old token becomes invalid immediately, or at the end of its grace
    /// period at the latest.
    pub async fn rotate_agent_token(
        &self,
        caller: &Caller,
        id: &ServerId,
        rotation: TokenRotation,
    ) -> Result<AgentToken, Refusal> {
        let grace = rotation.grace_seconds;
        if grace > LONGEST_GRACE {
            let detail = format!("{grace} s: give 0 (the old token is invalid at once) to {LONGEST_GRACE} (a week)");
            return Err(Refusal::field_value("grace_seconds", detail));
        }
        let (agent_token, hash) = new_token(AGENT_PREFIX)?;
        let (server, now) = (id.clone(), self.now());
        let until = (grace > 0).then(|| now.after(Duration::from_secs(grace.into())));
        let rotated = move |tx: &dyn DurableWrite| rotate(tx, &server, hash, until, now);
        self.change(caller, rotated).await?;
        Ok(AgentToken {
            agent_token,
            pin: None,
            previous_valid_until: until,
        })
    }

    /// Makes the old token invalid, because the agent uses the new one.
    pub(crate) async fn retire_agent_token(&self, caller: &Caller, id: &ServerId) -> Result<(), Refusal> {
        let (id, authority) = (id.clone(), caller.authority.clone());
        let retired = move |tx: &dyn DurableWrite| retire(tx, &id, &authority);
        self.change(caller, retired).await
    }
}

/// Returns whether an agent's token is the newer of the server's two tokens.
fn replaces(tx: &dyn Read, authority: &Authority) -> Result<bool, Refusal> {
    let Authority::Agent { server, token_hash } = authority else {
        return Ok(false);
    };
    let server = tx.server(server)?;
    Ok(server.is_some_and(|server| server.old_token.is_some() && server.token_hash == *token_hash))
}

fn rotate(
    tx: &dyn DurableWrite,
    id: &ServerId,
    hash: [u8; 32],
    until: Option<Timestamp>,
    now: Timestamp,
) -> Result<Change<()>, Refusal> {
    let (before, _) = existing(tx, id)?;
    let mut server = before.clone();
    // A server has at most one old token, so the old token from an earlier rotation is dropped.
    let older = server.old_token.take();
    let replaced = std::mem::replace(&mut server.token_hash, hash);
    server.old_token = until.map(|until| OldToken { hash: replaced, until });
    server.updated_at = now;
    let invalid = match until {
        None => Some(replaced),
        Some(_) => None,
    };
    tx.put_server(&server, invalid.as_ref())?;
    if until.is_none() {
        // Any holder of the old token may have filled the stock with keys of their own.
        tx.erase_prekeys(id)?;
    }
    if let Some(older) = older {
        tx.put_server(&server, Some(&older.hash))?;
    }
    let entry = Entry::new(Action::ServerTokenRotated, id).changed(&before, &server);
    Ok(Change::new((), entry))
}

fn retire(tx: &dyn DurableWrite, id: &ServerId, authority: &Authority) -> Result<Change<()>, Refusal> {
    let (mut server, _) = existing(tx, id)?;
    // If the token has been rotated again in the meantime, the old token is the one that this agent
    // still uses.
    let is_newest = matches!(authority, Authority::Agent { token_hash, .. } if *token_hash == server.token_hash);
    let Some(old) = server.old_token.take().filter(|_| is_newest) else {
        return Ok(Change::none(()));
    };
    tx.put_server(&server, Some(&old.hash))?;
    Ok(Change::new((), Entry::new(Action::ServerTokenRetired, id)))
}
