//! The log as CSV (RFC 4180): writing and reading.
//!
//! Owns the columns, the protection against cells that spreadsheets interpret as formulas, and the exact
//! restoration of every cell. It must not contain checkpoints, because a checkpoint is not a row.

use std::borrow::Cow;

use csv::{ReaderBuilder, StringRecord, Terminator, WriterBuilder};

use super::chain::canonical;
use crate::api::AuditRecord;

/// The header row. New columns are added only at the end.
pub const COLUMNS: [&str; 10] = [
    "id",
    "actor",
    "action",
    "target",
    "ip",
    "created_at",
    "detail",
    "request_id",
    "changes",
    "hash",
];

/// Returns records as rows, preceded by the header if `with_header` is true.
pub fn rows(records: &[AuditRecord], with_header: bool) -> Result<Vec<u8>, csv::Error> {
    let mut writer = WriterBuilder::new()
        .terminator(Terminator::CRLF)
        .from_writer(Vec::new());
    if with_header {
        writer.write_record(COLUMNS)?;
    }
    for record in records {
        let request_id = record.request_id.map(|id| id.to_string()).unwrap_or_default();
        writer.write_record([
            record.id.to_string().as_str(),
            &defused(&record.actor),
            &defused(&record.action),
            &defused(&record.target),
            &defused(&record.ip),
            &record.created_at.to_string(),
            &defused(record.detail.as_deref().unwrap_or_default()),
            &request_id,
            &canonical(&record.changes),
            &record.hash.to_string(),
        ])?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

/// Prepends a `'` to a cell that begins like a formula (OWASP, "CSV Injection"), including the full-width
/// forms that some spreadsheets normalize. A cell that begins with `'` gets another one, so that removing one
/// always restores the original.
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

/// Parses rows. The error describes why a row is invalid.
pub(super) fn read<R: std::io::Read>(input: R) -> impl Iterator<Item = Result<AuditRecord, String>> {
    let mut reader = ReaderBuilder::new().has_headers(false).from_reader(input);
    let mut header = None;
    std::iter::from_fn(move || {
        let mut row = StringRecord::new();
        match reader.read_record(&mut row) {
            Ok(false) => None,
            Ok(true) if header.is_none() => {
                let known = row.iter().eq(COLUMNS);
                header = Some(());
                match known {
                    true => match reader.read_record(&mut row) {
                        Ok(false) => None,
                        Ok(true) => Some(record(&row)),
                        Err(error) => Some(Err(error.to_string())),
                    },
                    false => Some(Err("the first row does not have the export's columns".to_owned())),
                }
            }
            Ok(true) => Some(record(&row)),
            Err(error) => Some(Err(error.to_string())),
        }
    })
}

fn record(row: &StringRecord) -> Result<AuditRecord, String> {
    let cell = |at: usize| row.get(at).ok_or("a row is too short");
    let text = |at: usize| cell(at).map(|cell| cell.strip_prefix('\'').unwrap_or(cell).to_owned());
    let (detail, request_id, changes) = (text(6)?, cell(7)?, cell(8)?);
    Ok(AuditRecord {
        id: cell(0)?.parse().map_err(|error| format!("id: {error}"))?,
        actor: text(1)?,
        action: text(2)?,
        target: text(3)?,
        ip: text(4)?,
        created_at: cell(5)?.parse().map_err(|error| format!("created_at: {error}"))?,
        detail: (!detail.is_empty()).then_some(detail),
        request_id: match request_id {
            "" => None,
            id => Some(id.parse().map_err(|error| format!("request_id: {error}"))?),
        },
        changes: match changes {
            "" => Default::default(),
            json => serde_json::from_str(json).map_err(|error| format!("changes: {error}"))?,
        },
        hash: cell(9)?.parse().map_err(|error| format!("hash: {error}"))?,
    })
}
