//! `GET /api/backup` and `POST /api/restore`: all records, exported and imported as a stream.
//!
//! Owns the streaming of bodies to and from a file, so that memory holds only one piece, however long the backup is.
//! It must not interpret a backup.

use std::io;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wgctl::backup::{MEDIA_TYPE, Summary};

use crate::fleet::{BackupCopy, Refusal};
use crate::http::principal::{Admin, Keeper};
use crate::http::problem::{Failure, Kind};
use crate::http::serve::body_deadline::BodyDeadline;
use crate::store::StoreError;

/// The number of bytes that are read at once.
const PIECE: usize = 64 << 10;

/// The maximum size of an accepted backup, in bytes: far more than any fleet needs, and far less than a disk holds.
const LONGEST: u64 = 16 << 30;

pub(super) async fn create(admin: Admin) -> Result<Response, Failure> {
    admin.looks()?;
    let copy = admin.fleet().back_up(&admin.caller).await?;
    let length = copy.file.metadata().map_err(unusable)?.len();
    let file = File::from_std(copy.file.try_clone().map_err(unusable)?);
    let stamp: String = copy
        .at
        .to_string()
        .chars()
        .filter(|c| !matches!(c, '-' | ':'))
        .collect();
    let headers = [
        (header::CONTENT_TYPE, MEDIA_TYPE.to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"sentrazone-{stamp}.backup\""),
        ),
    ];
    let pieces = stream::try_unfold((file, copy), |reading| async {
        next_piece(reading)
            .await
            .inspect_err(|error| tracing::error!("a backup was cut off: {error}"))
    });
    Ok((headers, Body::from_stream(pieces)).into_response())
}

type Progress = (File, BackupCopy);

async fn next_piece((mut file, copy): Progress) -> io::Result<Option<(Bytes, Progress)>> {
    let mut piece = Vec::with_capacity(PIECE);
    let read = (&mut file).take(PIECE as u64).read_to_end(&mut piece).await?;
    Ok((read > 0).then(|| (piece.into(), (file, copy))))
}

pub(super) async fn restore(keeper: Keeper, request: Request) -> Result<Json<Summary>, Failure> {
    let media_type = request.headers().get(header::CONTENT_TYPE);
    if media_type.is_none_or(|value| value != MEDIA_TYPE) {
        let detail = format!("send a backup as GET /api/backup returned it, with Content-Type: {MEDIA_TYPE}");
        return Err(Kind::UnsupportedMediaType.because(detail));
    }
    let copy = keeper.fleet().receive()?;
    let mut file = File::from_std(copy.file.try_clone().map_err(unusable)?);
    fill(&mut file, request.into_body(), &keeper).await?;
    Ok(Json(keeper.fleet().restore(&keeper.caller, copy).await?))
}

async fn fill(file: &mut File, mut body: Body, keeper: &Keeper) -> Result<(), Failure> {
    let mut deadline = BodyDeadline::new(&keeper.app.shared().limits);
    let mut left = LONGEST;
    while let Some(bytes) = deadline.next(&mut body).await? {
        left = left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| Kind::BodyTooLarge.because(format!("a backup may have at most {LONGEST} bytes")))?;
        file.write_all(&bytes).await.map_err(unusable)?;
    }
    file.flush().await.map_err(unusable)
}

fn unusable(error: io::Error) -> Failure {
    Refusal::Store(StoreError::Unavailable(format!(
        "the temporary file for the backup: {error}"
    )))
    .into()
}
