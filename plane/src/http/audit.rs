//! `GET /api/audit…`: the audit log, newest first; its verification, and the key for it.

use axum::Json as Answer;
use wgctl::api::{AuditPublicKey, AuditRecord, Verification};

use super::extract::Parameters;
use super::principal::{Admin, Viewer};
use super::problem::Failure;
use crate::fleet::AuditQuery;

pub(super) async fn list(admin: Admin, mut parameters: Parameters) -> Result<Answer<Vec<AuditRecord>>, Failure> {
    let query = AuditQuery {
        limit: parameters.take("limit")?,
        offset: parameters.take("offset")?.unwrap_or_default(),
        actor: parameters.take("actor")?,
        action: parameters.take("action")?,
        target: parameters.take("target")?,
        since: parameters.take("since")?,
        until: parameters.take("until")?,
    };
    parameters.finish()?;
    Ok(Answer(admin.fleet().audit(query).await?))
}

pub(super) async fn verify(admin: Admin, mut parameters: Parameters) -> Result<Answer<Verification>, Failure> {
    let head = parameters.take("head")?;
    parameters.finish()?;
    Ok(Answer(admin.fleet().verify_audit(head).await?))
}

pub(super) async fn key(viewer: Viewer) -> Result<Answer<AuditPublicKey>, Failure> {
    Ok(Answer(viewer.fleet().audit_key()?))
}
