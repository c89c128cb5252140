//! `GET /api/history`: a JSON array of points, streamed.
//!
//! Owns the writing of the array, so that memory holds only one page at a time, however long the response is.

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use wgctl::api::HistoryPoint;

use crate::fleet::{HistoryPages, HistoryQuery, Refusal};
use crate::http::extractors::Parameters;
use crate::http::principal::ScopedViewer;
use crate::http::problem::Failure;

pub(super) async fn list(viewer: ScopedViewer, mut parameters: Parameters) -> Result<Response, Failure> {
    let query = HistoryQuery {
        server_id: parameters.take("server_id")?,
        since: parameters.take("since")?,
        until: parameters.take("until")?,
        step: parameters.take("step")?,
        scope: viewer.scope.clone(),
    };
    parameters.finish()?;
    // An invalid query is refused here, before the status line is sent.
    let pages = viewer.fleet().history(query)?;
    let chunks = stream::try_unfold(Progress::Opening(pages), |progress| async {
        progress
            .advance()
            .await
            .inspect_err(|error| tracing::error!("a history response was cut off: {error}"))
    });
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from_stream(chunks)).into_response())
}

enum Progress {
    Opening(HistoryPages),
    Within(HistoryPages),
    Closed,
}

impl Progress {
    async fn advance(self) -> Result<Option<(Bytes, Self)>, Refusal> {
        let (mut pages, first) = match self {
            Self::Opening(pages) => (pages, true),
            Self::Within(pages) => (pages, false),
            Self::Closed => return Ok(None),
        };
        let page = pages.next().await?;
        let mut text = if first { b"[".to_vec() } else { Vec::new() };
        let Some(points) = page else {
            text.push(b']');
            return Ok(Some((text.into(), Self::Closed)));
        };
        write_points(&mut text, &points, first)?;
        Ok(Some((text.into(), Self::Within(pages))))
    }
}

fn write_points(text: &mut Vec<u8>, points: &[HistoryPoint], first: bool) -> Result<(), Refusal> {
    for (index, point) in points.iter().enumerate() {
        if !first || index > 0 {
            text.push(b',');
        }
        serde_json::to_writer(&mut *text, point).map_err(|error| Refusal::Internal(error.to_string()))?;
    }
    Ok(())
}
