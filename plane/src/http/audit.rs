//! `GET /api/audit`: the audit log, newest first.

use axum::Json as Answer;
use wgctl::api::AuditRecord;

use super::extract::Parameters;
use super::principal::Admin;
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
