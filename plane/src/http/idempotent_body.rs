//! A request that creates something: its JSON body, and the `Idempotency-Key` that makes it safe to repeat.
//!
//! Owns reading the header and the rule for treating two requests as the same. It must not store
//! anything: that belongs to the fleet.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;

use super::app::App;
use super::extractors::{json_body, parse_json};
use super::problem::{Failure, Kind};
use crate::auth::{AnswerVault, fingerprint};
use crate::fleet::{Idempotency, Refusal};

const HEADER: &str = "Idempotency-Key";
const MOST_BYTES: usize = 255;

/// A request to create something once.
pub(super) struct Creation<T> {
    /// The body.
    pub(super) new: T,
    /// Present if the request has the header.
    pub(super) once: Option<Idempotency>,
}

impl<T: DeserializeOwned> FromRequest<App> for Creation<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        let header = idempotency_key(&request)?;
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let (authorized, body) = json_body(request, app).await?;
        let new = parse_json(body.content())?;
        let key = &app.shared().key;
        let once = match header {
            None => None,
            Some(header) => Some(Idempotency {
                scope: fingerprint(
                    key,
                    &[
                        authorized.who.as_deref().unwrap_or_default().as_bytes(),
                        method.as_str().as_bytes(),
                        path.as_bytes(),
                        &header,
                    ],
                ),
                body: fingerprint(key, &[body.content()]),
                vault: Arc::new(AnswerVault::new(key, &header).map_err(Refusal::Internal)?),
            }),
        };
        Ok(Self { new, once })
    }
}

fn idempotency_key(request: &Request) -> Result<Option<Vec<u8>>, Failure> {
    let mut values = request.headers().get_all(HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let bytes = value.as_bytes();
    if values.next().is_some() || bytes.is_empty() || bytes.len() > MOST_BYTES || !bytes.is_ascii() {
        let detail = format!("send one {HEADER} of 1 to {MOST_BYTES} ASCII characters, like a UUID");
        return Err(Kind::InvalidField.field(HEADER, detail));
    }
    Ok(Some(bytes.to_vec()))
}
