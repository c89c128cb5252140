//! The two endpoints that export and replace everything that is recorded.
//!
//! Owns the paths and methods. It must not interpret a backup.

use reqwest::{Body, Method, Response, header};
use tokio::fs::File;

use super::error::Error;
use super::plane_client::{COPY_TIMEOUT, PlaneClient};
use crate::backup::{MEDIA_TYPE, Summary};

impl PlaneClient {
    /// `GET /api/backup`. The response is to be read in chunks (`Response::chunk`).
    pub async fn backup(&self) -> Result<Response, Error> {
        let call = self.call(Method::GET, &["/api/backup"])?;
        call.patience(COPY_TIMEOUT).send().await
    }

    /// `POST /api/restore`: replaces everything that is recorded.
    pub async fn restore(&self, backup: File) -> Result<Summary, Error> {
        let mut call = self.call(Method::POST, &["/api/restore"])?.patience(COPY_TIMEOUT);
        call.request = call
            .request
            .header(header::CONTENT_TYPE, MEDIA_TYPE)
            .body(Body::from(backup));
        call.read().await
    }
}
