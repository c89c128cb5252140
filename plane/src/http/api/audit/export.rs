//! `GET /api/audit/export`: the whole audit log as CSV (RFC 4180) or JSON Lines, streamed.
//!
//! Owns the choice of format, and the headers. It must not define the formats: those belong to the shared library
//! (`wgctl::audit`).

use std::str::FromStr;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use wgctl::api::AuditLine;
use wgctl::audit;

use crate::fleet::{AuditPages, Refusal};
use crate::http::extractors::Parameters;
use crate::http::principal::Admin;
use crate::http::problem::Failure;

/// The format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    JsonLines,
}

impl FromStr for Format {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "csv" => Ok(Self::Csv),
            "jsonl" => Ok(Self::JsonLines),
            _ => Err("write csv or jsonl"),
        }
    }
}

impl Format {
    const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::JsonLines => "application/jsonl",
        }
    }

    const fn disposition(self) -> &'static str {
        match self {
            Self::Csv => "attachment; filename=\"audit.csv\"",
            Self::JsonLines => "attachment; filename=\"audit.jsonl\"",
        }
    }

    fn write(self, lines: Vec<AuditLine>, first: bool) -> Result<Vec<u8>, String> {
        match self {
            Self::Csv => {
                let records = lines.into_iter().filter_map(|line| match line {
                    AuditLine::Record(record) => Some(record),
                    AuditLine::Pruned(_) | AuditLine::Checkpoint(_) => None,
                });
                audit::rows(&records.collect::<Vec<_>>(), first).map_err(|error| error.to_string())
            }
            Self::JsonLines => audit::lines(&lines).map_err(|error| error.to_string()),
        }
    }
}

pub(crate) async fn whole(admin: Admin, mut parameters: Parameters) -> Result<Response, Failure> {
    let format = parameters.take("format")?.unwrap_or(Format::Csv);
    parameters.finish()?;
    let pages = admin.fleet().audit_pages().await?;
    let text = stream::try_unfold((pages, true), move |progress| async move {
        next(progress, format)
            .await
            .inspect_err(|error| tracing::error!("an audit export was cut off: {error}"))
    });
    let headers = [
        (header::CONTENT_TYPE, format.media_type()),
        (header::CONTENT_DISPOSITION, format.disposition()),
    ];
    Ok((headers, Body::from_stream(text)).into_response())
}

type Progress = (AuditPages, bool);

async fn next((mut pages, first): Progress, format: Format) -> Result<Option<(Bytes, Progress)>, Refusal> {
    let lines = match pages.next().await? {
        Some(lines) => lines,
        None if first => Vec::new(),
        None => return Ok(None),
    };
    let text = format.write(lines, first).map_err(Refusal::Internal)?;
    Ok(Some((text.into(), (pages, false))))
}
