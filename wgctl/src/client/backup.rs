//! The two endpoints for everything that is recorded, out and in.
//!
//! Owns paths and methods. It must not read what it carries.

use reqwest::{Body, Method, Response, header};
use tokio::fs::File;

use super::error::Error;
use super::plane_client::{COPY_TIMEOUT, PlaneClient};
use crate::backup::{MEDIA_TYPE, Summary};

impl PlaneClient {
    /// `GET /api/backup`, to be read in chunks (`Response::chunk`).
    pub async fn backup(&self) -> Result<Response, Error> {
        let call = self.call(Method::GET, &["/api/backup"])?;
        call.patience(COPY_TIMEOUT).send().await
    }

    /// `POST /api/restore`: everything that is recorded is replaced.
    pub async fn restore(&self, backup: File) -> Result<Summary, Error> {
        let mut call = self.call(Method::POST, &["/api/restore"])?.patience(COPY_TIMEOUT);
        call.request = call
            .request
            .header(header::CONTENT_TYPE, MEDIA_TYPE)
            .body(Body::from(backup));
        call.read().await
    }
}
