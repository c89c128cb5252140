//! API tokens: made, listed, removed, and whom one speaks for.
//!
//! Owns the rules of tokens for programs, and what a token that is limited to some servers may see.
//! A token outlives the account of whoever made it. Its text is shown once and kept nowhere.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use wgctl::api::{ApiToken, ApiTokenCreated, NewApiToken, Role};
use wgctl::name::{TokenId, TokenName};
use wgctl::{ServerId, Timestamp};

use crate::fleet::idempotency;
use crate::fleet::idempotency::Before;
use crate::fleet::{Caller, Fleet, Idempotency, Refusal};
use crate::model::caller::{Action, Entry};
use crate::model::records::TokenRecord;
use crate::store::Change;
use crate::store::{DurableWrite, LossyWrite, Read};

/// What API tokens begin with, so that scanners and people know one.
pub const PREFIX: &str = "szapi_";

/// The servers somebody may see: all, or those that their token names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope(Option<BTreeSet<ServerId>>);

impl Scope {
    /// Whether it is all servers.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a server is among them. It need not exist.
    #[must_use]
    pub fn admits(&self, server: &ServerId) -> bool {
        self.0.as_ref().is_none_or(|servers| servers.contains(server))
    }
}

/// What a token stands for.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The token's id.
    pub id: TokenId,
    /// Its name.
    pub name: TokenName,
    /// What it may do.
    pub role: Role,
    /// On which servers.
    pub scope: Scope,
}

fn no_token(id: &TokenId) -> Refusal {
    Refusal::NotFound {
        what: format!("API token {id}"),
    }
}

impl Fleet {
    /// What an API token stands for; none for one that is not (or no more) valid. Cheap.
    pub fn token_grant(&self, token: &str) -> Result<Option<Grant>, Refusal> {
        let (hash, now) = (token_hash(token), self.now());
        let record = self.store().read(|tx| Ok::<_, Refusal>(tx.token_by_hash(&hash)?))?;
        let Some(record) = record.filter(|token| token.is_good(now)) else {
            return Ok(None);
        };
        if self.shared.limits.token_uses.due(record.id, now) {
            self.note_use(record.id, now);
        }
        Ok(Some(Grant {
            id: record.id,
            name: record.name,
            role: record.role,
            scope: Scope(record.servers),
        }))
    }

    /// Beside the request: what is asked must not wait for the writer, nor fail with a full disk.
    fn note_use(&self, id: TokenId, now: Timestamp) {
        let fleet = self.clone();
        tokio::spawn(async move {
            let noted = fleet.store().record(move |tx: &dyn LossyWrite| used(tx, &id, now));
            if let Err::<(), Refusal>(error) = noted.await {
                tracing::debug!(token = %id, %error, "the use of an API token could not be noted");
            }
        });
    }

    /// All API tokens, by creation.
    pub async fn tokens(&self) -> Result<Vec<ApiToken>, Refusal> {
        let read = |tx: &dyn Read| {
            let mut shown = Vec::new();
            for record in tx.tokens()? {
                let used_at = tx.token_used_at(&record.id)?;
                shown.push(show(&record, used_at));
            }
            Ok::<_, Refusal>(shown)
        };
        let mut tokens = self.store().scan(read).await?;
        tokens.sort_by(|a, b| (a.created_at, &a.name).cmp(&(b.created_at, &b.name)));
        Ok(tokens)
    }

    /// Makes an API token.
    pub async fn create_token(
        &self,
        caller: &Caller,
        new: NewApiToken,
        once: Option<Idempotency>,
    ) -> Result<ApiTokenCreated, Refusal> {
        let now = self.now();
        let (token, hash) = new_token(PREFIX)?;
        let record = record(new, hash, caller.actor.to_string(), now)?;
        self.change(caller, move |tx: &dyn DurableWrite| {
            create(tx, record, token, once, now)
        })
        .await
    }

    /// Removes an API token: whoever has it is nobody from now on.
    pub async fn remove_token(&self, caller: &Caller, id: &TokenId) -> Result<(), Refusal> {
        let token = *id;
        self.change(caller, move |tx: &dyn DurableWrite| remove(tx, &token))
            .await?;
        self.shared.limits.token_uses.forget(id);
        Ok(())
    }
}

/// 256 bits of the operating system's randomness behind a prefix, and what is kept of them.
pub(crate) fn new_token(prefix: &str) -> Result<(String, [u8; 32]), Refusal> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Refusal::Internal(format!("the operating system gave no randomness: {error}")))?;
    let token = format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes));
    let hash = token_hash(&token);
    Ok((token, hash))
}

pub(crate) fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn record(new: NewApiToken, hash: [u8; 32], created_by: String, now: Timestamp) -> Result<TokenRecord, Refusal> {
    if new.expires_at.is_some_and(|end| end <= now) {
        let detail = "it is in the past: give a time to come, or leave it out for a token without an end";
        return Err(Refusal::field_value("expires_at", detail));
    }
    let servers = new.servers.map(BTreeSet::from_iter);
    if servers.as_ref().is_some_and(BTreeSet::is_empty) {
        let detail = "a token for no server is good for nothing: name at least one, or leave it out for all";
        return Err(Refusal::field_value("servers", detail));
    }
    Ok(TokenRecord {
        id: TokenId::random(),
        name: new.name,
        role: new.role,
        servers,
        hash,
        expires_at: new.expires_at,
        created_at: now,
        created_by,
    })
}

fn show(record: &TokenRecord, last_used_at: Option<Timestamp>) -> ApiToken {
    ApiToken {
        id: record.id,
        name: record.name.clone(),
        role: record.role,
        servers: record.servers.clone().map(Vec::from_iter),
        created_at: record.created_at,
        created_by: record.created_by.clone(),
        expires_at: record.expires_at,
        last_used_at,
    }
}

fn create(
    tx: &dyn DurableWrite,
    record: TokenRecord,
    token: String,
    once: Option<Idempotency>,
    now: Timestamp,
) -> Result<Change<ApiTokenCreated>, Refusal> {
    let first = match idempotency::before(tx, once, now)? {
        Before::Answered(created) => return replay(tx, created, now),
        Before::New(first) => first,
    };
    if tx.token_by_name(&record.name)?.is_some() {
        return Err(Refusal::TokenExists(record.name.to_string()));
    }
    for server in record.servers.iter().flatten() {
        if tx.server(server)?.is_none() {
            let detail = format!(
                "there is no server {:?}: list what exists and check the spelling",
                server.as_str()
            );
            return Err(Refusal::field_value("servers", detail));
        }
    }
    let created = ApiTokenCreated {
        api_token: show(&record, None),
        token,
    };
    let kept = first.seal(&created)?;

    tx.put_token(&record)?;
    kept.write(tx)?;
    let entry = Entry::new(Action::TokenCreated, &record.name).made(&record);
    Ok(Change::new(created, entry))
}

/// The first answer again, for as long as there is the token in it. Nothing is made, but a secret is seen.
fn replay(tx: &dyn Read, created: ApiTokenCreated, now: Timestamp) -> Result<Change<ApiTokenCreated>, Refusal> {
    let name = &created.api_token.name;
    let token = tx.token_by_hash(&token_hash(&created.token))?;
    if token.filter(|token| token.is_good(now)).is_none() {
        return Err(Refusal::AnswerOutlived(format!("API token {:?}", name.as_str())));
    }
    let entry = Entry::new(Action::TokenViewed, name);
    Ok(Change::new(created, entry))
}

fn remove(tx: &dyn DurableWrite, id: &TokenId) -> Result<Change<()>, Refusal> {
    let token = tx.token(id)?.ok_or_else(|| no_token(id))?;
    tx.erase_token(&token)?;
    Ok(Change::new(
        (),
        Entry::new(Action::TokenDeleted, &token.name).removed(&token),
    ))
}

fn used(tx: &dyn LossyWrite, id: &TokenId, now: Timestamp) -> Result<(), Refusal> {
    // One that was removed meanwhile must leave nothing behind.
    if tx.token(id)?.is_some() {
        tx.put_token_use(id, now)?;
    }
    Ok(())
}
