//! API tokens: their creation, listing, removal and permissions.
//!
//! Owns the rules for API tokens, and the scope of a token that is limited to some servers. It must not
//! store a token in plaintext: a token is stored as a hash. A token remains valid after its creator's
//! account has been removed.

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

/// The prefix of API tokens, by which scanners and people recognize them.
pub const PREFIX: &str = wgctl::api::API_TOKEN_PREFIX;

/// The servers that a caller may see: all servers, or only the ones that the caller's token names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope(Option<BTreeSet<ServerId>>);

impl Scope {
    /// Returns whether the scope includes all servers.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        self.0.is_none()
    }

    /// Returns whether a server is in the scope. The server need not exist.
    #[must_use]
    pub fn admits(&self, server: &ServerId) -> bool {
        self.0.as_ref().is_none_or(|servers| servers.contains(server))
    }
}

/// The permissions of a token.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The token's id.
    pub id: TokenId,
    /// The token's name.
    pub name: TokenName,
    /// The token's role.
    pub role: Role,
    /// The servers that the token is limited to.
    pub scope: Scope,
}

fn no_token(id: &TokenId) -> Refusal {
    Refusal::NotFound {
        what: format!("API token {id}"),
    }
}

impl Fleet {
    /// Returns the permissions of an API token, or `None` if the token is invalid. The call is cheap.
    pub fn token_grant(&self, token: &str) -> Result<Option<Grant>, Refusal> {
        let (hash, now) = (token_hash(token), self.now());
        let record = self.store().read(|tx| Ok::<_, Refusal>(tx.token_by_hash(&hash)?))?;
        let Some(record) = record.filter(|token| token.is_good(now)) else {
            return Ok(None);
        };
        if self.shared.limits.token_uses.due(record.id, now) {
            self.record_use_later(record.id, now);
        }
        Ok(Some(Grant {
            id: record.id,
            name: record.name,
            role: record.role,
            scope: Scope(record.servers),
        }))
    }

    /// Records a use in the background, so that the request neither waits for the writer nor fails if
    /// the disk is full.
    fn record_use_later(&self, id: TokenId, now: Timestamp) {
        let fleet = self.clone();
        tokio::spawn(async move {
            let recorded = fleet
                .store()
                .record(move |tx: &dyn LossyWrite| record_use(tx, &id, now));
            if let Err::<(), Refusal>(error) = recorded.await {
                tracing::debug!(token = %id, %error, "the use of an API token could not be recorded");
            }
        });
    }

    /// Returns all API tokens, in order of creation.
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

    /// Creates an API token.
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

    /// Removes an API token, which makes it invalid.
    pub async fn remove_token(&self, caller: &Caller, id: &TokenId) -> Result<(), Refusal> {
        let token = *id;
        self.change(caller, move |tx: &dyn DurableWrite| remove(tx, &token))
            .await?;
        self.shared.limits.token_uses.forget(id);
        Ok(())
    }
}

/// Returns a new token, and the hash to store. The token is the prefix followed by 256 random bits from
/// the operating system.
pub(crate) fn new_token(prefix: &str) -> Result<(String, [u8; 32]), Refusal> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Refusal::Internal(format!("could not get random bytes from the operating system: {error}")))?;
    let token = format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes));
    let hash = token_hash(&token);
    Ok((token, hash))
}

pub(crate) fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn record(new: NewApiToken, hash: [u8; 32], created_by: String, now: Timestamp) -> Result<TokenRecord, Refusal> {
    if new.expires_at.is_some_and(|end| end <= now) {
        let detail = "it is in the past: give a later time, or leave it out for a token that does not expire";
        return Err(Refusal::field_value("expires_at", detail));
    }
    let servers = new.servers.map(BTreeSet::from_iter);
    if servers.as_ref().is_some_and(BTreeSet::is_empty) {
        let detail = "a token needs at least one server: name one, or leave the field out to allow all servers";
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

/// Returns the first response again, as long as the token in it is valid. Nothing is created, but the
/// audit log records that a secret has been shown.
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

fn record_use(tx: &dyn LossyWrite, id: &TokenId, now: Timestamp) -> Result<(), Refusal> {
    // A use must not be recorded for a token that has been removed in the meantime.
    if tx.token(id)?.is_some() {
        tx.put_token_use(id, now)?;
    }
    Ok(())
}
