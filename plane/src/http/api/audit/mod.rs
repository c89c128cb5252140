//! `GET /api/audit…`: the audit log (newest record first), its verification, and its public key.

pub(super) mod export;

use axum::Json as Answer;
use wgctl::api::{AuditPublicKey, AuditRecord, Verification};

use crate::fleet::AuditQuery;
use crate::http::extractors::Parameters;
use crate::http::principal::{Admin, Viewer};
use crate::http::problem::Failure;

pub(crate) async fn list(admin: Admin, mut parameters: Parameters) -> Result<Answer<Vec<AuditRecord>>, Failure> {
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

pub(crate) async fn verify(admin: Admin, mut parameters: Parameters) -> Result<Answer<Verification>, Failure> {
    let head = parameters.take("head")?;
    parameters.finish()?;
    Ok(Answer(admin.fleet().verify_audit(head).await?))
}

pub(crate) async fn key(viewer: Viewer) -> Result<Answer<AuditPublicKey>, Failure> {
    Ok(Answer(viewer.fleet().audit_key()?))
}
