//! Audit log records in human-readable form.
//!
//! Owns the short form of a change. It must not contact the plane.

use serde_json::Value;
use wgctl::api::{AuditRecord, FieldChange};

use crate::failure::Failure;
use crate::terminal::table::{Table, Tone};
use crate::terminal::text::plain;

/// The maximum number of characters shown for the changes in a record; `--json` shows all of them.
const LONGEST: usize = 100;

/// Returns the records as a table.
pub(super) fn table(records: &[AuditRecord]) -> Table {
    let mut table = Table::new(&[">ID", "TIME", "ACTOR", "ACTION", "TARGET", "IP", "DETAIL"]);
    for record in records {
        let tone = match record.action.as_str() {
            "login_failed" | "agent_refused" | "audit_key_changed" => Tone::Bad,
            _ => Tone::Plain,
        };
        table.row(tone, cells(record));
    }
    table
}

/// Returns a record as a single line.
pub(super) fn line(record: &AuditRecord, json: bool) -> Result<String, Failure> {
    if json {
        let text = serde_json::to_string(record)
            .map_err(|error| Failure::Local(format!("cannot encode the record as JSON: {error}")))?;
        return Ok(text + "\n");
    }
    let cells = cells(record).map(|cell| plain(&cell));
    Ok(cells.join("  ").trim_end().to_owned() + "\n")
}

fn cells(record: &AuditRecord) -> [String; 7] {
    let told = record.detail.clone().into_iter();
    let told = told.chain(record.changes.iter().map(|(name, change)| changed(name, change)));
    [
        record.id.to_string(),
        record.created_at.to_string(),
        record.actor.clone(),
        record.action.clone(),
        record.target.clone(),
        record.ip.clone(),
        shortened(&told.collect::<Vec<_>>().join(", ")),
    ]
}

fn changed(name: &str, change: &FieldChange) -> String {
    match (&change.before, &change.after) {
        (Some(before), Some(after)) => format!("{name}: {} → {}", value(before), value(after)),
        (None, Some(only)) | (Some(only), None) => format!("{name}: {}", value(only)),
        (None, None) => name.to_owned(),
    }
}

fn value(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.is_empty() => "none".to_owned(),
        Value::Array(values) => values.iter().map(self::value).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or(text)),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(changes: Value) -> AuditRecord {
        let json = json!({
            "id": 7, "actor": "ops@example.com", "action": "wg_client_updated", "target": "la/alice", "ip": "192.0.2.1",
            "created_at": "2026-05-06T12:00:00Z", "changes": changes
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_change_is_summarized_in_a_few_words() {
        let told = |changes| cells(&record(changes))[6].clone();
        assert_eq!(
            told(json!({"enabled": {"before": true, "after": false}, "mtu": {"before": null, "after": 1400}})),
            "enabled: true → false, mtu: none → 1400"
        );
        assert_eq!(
            told(json!({"password": {"after": "changed"}, "dns": {"after": ["1.1.1.1", "::1"]}})),
            "dns: 1.1.1.1 ::1, password: changed"
        );
        let long = told(json!({"name": {"after": "ü".repeat(500)}}));
        assert!(long.ends_with("ü…") && long.chars().count() == 101, "{long}");
    }

    #[test]
    fn a_followed_record_is_one_line_without_control_characters() {
        let record = record(json!({"name": {"before": "a\u{1b}[2J\nb", "after": "c"}}));
        let line_of = |json| line(&record, json).unwrap();
        for text in [line_of(false), line_of(true)] {
            assert!(text.matches('\n').count() == 1 && !text.contains('\u{1b}'), "{text}");
        }
        assert_eq!(serde_json::from_str::<AuditRecord>(&line_of(true)).unwrap(), record);
    }
}
