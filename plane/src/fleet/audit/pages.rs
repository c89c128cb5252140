//! Reading and verification of the audit log.
//!
//! Owns the limits on a query, and the paging. It must not write records: only the store does so, as
//! part of each change. Checkpoints and retention are in `retention`.

use wgctl::Timestamp;
use wgctl::api::{AuditLine, AuditPublicKey, AuditRecord, Checkpoint, Head, Verification};
use wgctl::audit::{Expected, Verifier};
use wgctl::name::Incarnation;

use crate::fleet::{Fleet, Refusal};
use crate::store::{AuditExtent, AuditFilter, Read, StoreError};

/// The number of records in a page of the whole log, and the maximum that one query returns.
const PAGE: usize = 1000;

/// The number of records that a query returns by default.
const LIMIT: usize = 100;

/// A query for audit records, newest first.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// The maximum number of records to return, from 1 to 1,000. The default is 100.
    pub limit: Option<usize>,
    /// The number of matching records to skip.
    pub offset: usize,
    /// Only records with exactly this actor.
    pub actor: Option<String>,
    /// Only records with exactly this action.
    pub action: Option<String>,
    /// Only records with exactly this target or a target below it (`los-angeles` also finds
    /// `los-angeles/alice`).
    pub target: Option<String>,
    /// Only records from this time or later.
    pub since: Option<Timestamp>,
    /// Only records from before this time.
    pub until: Option<Timestamp>,
}

/// The whole log in pages, oldest first, as of the time of the request.
pub struct AuditPages {
    fleet: Fleet,
    life: Incarnation,
    beginning: AuditExtent,
    newest_mark: Option<Checkpoint>,
    next: u64,
    size: usize,
    begun: bool,
}

impl AuditPages {
    /// Returns the next lines: at most 1,000 records and their checkpoints, or `None` at the end. Each
    /// page is read in a transaction of its own, because a long read transaction would prevent the
    /// database from reusing freed space.
    pub async fn next(&mut self) -> Result<Option<Vec<AuditLine>>, Refusal> {
        let (from, to, size) = (self.next, self.beginning.head.id, self.size);
        let (life, pruned) = (self.life, self.beginning.pruned);
        let read = move |tx: &dyn Read| {
            let is_same = tx.incarnation()? == life && tx.audit_extent()?.pruned == pruned;
            Ok::<_, Refusal>(match is_same {
                true => Some(tx.audit_lines(from, to, size)?),
                false => None,
            })
        };
        let Some((mut lines, last)) = self.fleet.store().scan(read).await? else {
            let detail = "the log was restored or pruned while it was being read: try again";
            return Err(Refusal::Busy(detail.to_owned()));
        };
        if let Some(stub) = pruned.filter(|_| !self.begun) {
            lines.insert(0, AuditLine::Pruned(stub));
        }
        self.begun = true;
        self.next = last.unwrap_or(to) + 1;
        Ok(Some(lines).filter(|lines| !lines.is_empty()))
    }
}

impl Fleet {
    /// Returns records of the audit log, newest first.
    pub async fn audit(&self, query: AuditQuery) -> Result<Vec<AuditRecord>, Refusal> {
        let limit = query.limit.unwrap_or(LIMIT);
        if !(1..=PAGE).contains(&limit) {
            return Err(Refusal::field_value(
                "limit",
                format!("{limit} records: give 1 to {PAGE}"),
            ));
        }
        let offset = query.offset;
        let filter = AuditFilter {
            actor: query.actor,
            action: query.action,
            target: query.target,
            since: query.since,
            until: query.until,
        };
        self.store()
            .scan(move |tx: &dyn Read| Ok(tx.audit_newest(&filter, offset, limit)?))
            .await
    }

    /// Returns the whole audit log in its current state. Signs the log first, so that its last
    /// checkpoint covers all of it.
    pub async fn audit_pages(&self) -> Result<AuditPages, Refusal> {
        if let Err(error) = self.checkpoint_audit().await {
            // A full disk must not prevent reading.
            tracing::warn!(%error, "the audit log is being read without a fresh checkpoint");
        }
        self.pages()
    }

    fn pages(&self) -> Result<AuditPages, Refusal> {
        let (life, beginning, newest_mark) = self.store().read(|tx| {
            let beginning = tx.audit_extent()?;
            Ok::<_, Refusal>((tx.incarnation()?, beginning, tx.audit_checkpoint()?))
        })?;
        Ok(AuditPages {
            fleet: self.clone(),
            life,
            next: beginning.first(),
            beginning,
            newest_mark,
            size: PAGE,
            begun: false,
        })
    }

    /// Verifies the log up to its current end. `known` is the head from an earlier read.
    pub async fn verify_audit(&self, known: Option<Head>) -> Result<Verification, Refusal> {
        let Ok(_place) = self.shared.verifications.try_acquire() else {
            let detail = "another verification of the audit log is running: try again in a minute";
            return Err(Refusal::Busy(detail.to_owned()));
        };
        let signer = self.store().signer();
        let mut pages = self.pages()?;
        let mut verifier = Verifier::new(Expected {
            checkpoints: signer.is_some(),
            keys: signer.iter().map(|signer| signer.public_key()).collect(),
            head: known,
        });
        loop {
            let lines = match pages.next().await {
                Ok(Some(lines)) => lines,
                Ok(None) => break,
                // One of these lines cannot be read. The page is read again one line at a time, so that the
                // lines before it are still verified.
                Err(Refusal::Store(StoreError::Corrupt(_))) if pages.size > 1 => {
                    pages.size = 1;
                    continue;
                }
                Err(Refusal::Store(StoreError::Corrupt(reason))) => {
                    verifier.unreadable(&format!("it cannot be read ({reason})"));
                    return Ok(verifier.finish());
                }
                Err(other) => return Err(other),
            };
            let seen = tokio::task::spawn_blocking(move || {
                let sound = lines.iter().all(|line| verifier.line(line));
                (verifier, sound)
            });
            let sound;
            (verifier, sound) = seen
                .await
                .map_err(|error| Refusal::Internal(format!("a verification was interrupted: {error}")))?;
            if !sound {
                return Ok(verifier.finish());
            }
        }
        verifier.ends_at(pages.beginning.head);
        if let Some(mark) = pages.newest_mark.filter(|mark| mark.id > pages.beginning.head.id) {
            // If the log has been truncated, a later checkpoint may still exist.
            verifier.checkpoint(&mark);
        }
        Ok(verifier.finish())
    }

    /// Returns the public key that verifies the log's checkpoints.
    pub fn audit_key(&self) -> Result<AuditPublicKey, Refusal> {
        let signer = self.store().signer();
        let public_key = signer.map(|signer| signer.public_key());
        public_key
            .map(|public_key| AuditPublicKey { public_key })
            .ok_or_else(|| Refusal::NotFound {
                what: "signing key for the audit log".to_owned(),
            })
    }
}
