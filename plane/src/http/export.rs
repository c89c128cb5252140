//! `GET /api/audit/export`: the whole audit log as CSV (RFC 4180), streamed.
//!
//! Owns the file's form, and that no spreadsheet takes a cell for a formula.

use std::borrow::Cow;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use csv::{Terminator, WriterBuilder};
use futures_util::stream;
use wgctl::api::AuditRecord;

use super::principal::Admin;
use super::problem::Failure;
use crate::fleet::{AuditPages, Refusal};

const HEADER: [&str; 7] = ["id", "actor", "action", "target", "ip", "created_at", "detail"];

pub(super) async fn csv(admin: Admin) -> Result<Response, Failure> {
    let pages = admin.fleet().audit_pages().await?;
    let rows = stream::try_unfold((pages, true), |progress| async {
        next_rows(progress)
            .await
            .inspect_err(|error| tracing::error!("an audit export was cut: {error}"))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"audit.csv\""),
    ];
    Ok((headers, Body::from_stream(rows)).into_response())
}

type Progress = (AuditPages, bool);

async fn next_rows((mut pages, first): Progress) -> Result<Option<(Bytes, Progress)>, Refusal> {
    let records = match pages.next().await? {
        Some(records) => records,
        None if first => Vec::new(),
        None => return Ok(None),
    };
    let text = rows(&records, first).map_err(|error| Refusal::Internal(error.to_string()))?;
    Ok(Some((text.into(), (pages, false))))
}

fn rows(records: &[AuditRecord], with_header: bool) -> Result<Vec<u8>, csv::Error> {
    let mut writer = WriterBuilder::new()
        .terminator(Terminator::CRLF)
        .from_writer(Vec::new());
    if with_header {
        writer.write_record(HEADER)?;
    }
    for record in records {
        writer.write_record([
            record.id.to_string().as_str(),
            &defused(&record.actor),
            &defused(&record.action),
            &defused(&record.target),
            &defused(&record.ip),
            &record.created_at.to_string(),
            &defused(record.detail.as_deref().unwrap_or_default()),
        ])?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

/// A cell that begins like a formula gets a leading `'` (OWASP, "CSV Injection"), the full-width
/// forms that some spreadsheets fold included. One that begins with `'` gets another, so that
/// taking one away always gives the original.
fn defused(cell: &str) -> Cow<'_, str> {
    let begins_a_formula = |c: char| {
        matches!(
            c,
            '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠' | '\''
        )
    };
    if cell.starts_with(begins_a_formula) {
        Cow::Owned(format!("'{cell}"))
    } else {
        Cow::Borrowed(cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgctl::Timestamp;

    fn record(target: &str) -> AuditRecord {
        AuditRecord {
            id: 1,
            actor: "ops@example.com".to_owned(),
            action: "wg_client_created".to_owned(),
            target: target.to_owned(),
            ip: "192.0.2.1".to_owned(),
            created_at: Timestamp::from_unix(0),
            detail: None,
        }
    }

    #[test]
    fn rows_end_and_are_quoted_as_rfc_4180_says() {
        let text = String::from_utf8(rows(&[record("a,\"b\"")], true).unwrap()).unwrap();
        assert_eq!(
            text,
            "id,actor,action,target,ip,created_at,detail\r\n\
             1,ops@example.com,wg_client_created,\"a,\"\"b\"\"\",192.0.2.1,1970-01-01T00:00:00Z,\r\n"
        );
    }

    #[test]
    fn formulas_are_defused_and_can_be_read_back() {
        for cell in [
            "=1+1", "+1", "-1", "@x", "\tx", "\rx", "＝1", "＋1", "－1", "＠1", "'=1", "''",
        ] {
            let defused = defused(cell);
            assert!(defused.starts_with('\''));
            assert_eq!(defused.strip_prefix('\''), Some(cell));
        }
        assert_eq!(defused("los-angeles/alice"), "los-angeles/alice");
    }
}
