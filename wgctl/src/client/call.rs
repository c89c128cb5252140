//! One call: a request, and its response read as JSON, text or a problem report.
//!
//! Owns the time limits for a response and the parsing of problem reports. It must not retry.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Response, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::cause::unreachable;
use super::error::Error;
use super::target::Target;

/// The time within which an ordinary response must begin. The long poll sets its own limit.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest pause within a response. The total time is not limited, because the snapshot of a large server
/// must be able to arrive over a slow link.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// One request under construction.
pub(super) struct Call<'c> {
    target: &'c Target,
    reached: &'c Mutex<Option<IpAddr>>,
    pub(super) request: reqwest::RequestBuilder,
    /// The time within which the response must begin.
    patience: Duration,
}

impl<'c> Call<'c> {
    pub(super) const fn new(
        target: &'c Target,
        reached: &'c Mutex<Option<IpAddr>>,
        request: reqwest::RequestBuilder,
    ) -> Self {
        Self {
            target,
            reached,
            request,
            patience: ANSWER_TIMEOUT,
        }
    }

    pub(super) fn json<B: Serialize + ?Sized>(mut self, body: &B) -> Self {
        self.request = self.request.json(body);
        self
    }

    pub(super) fn query<Q: Serialize + ?Sized>(mut self, query: &Q) -> Self {
        self.request = self.request.query(query);
        self
    }

    pub(super) const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    pub(super) fn idempotency_key(mut self, key: Option<&str>) -> Self {
        if let Some(key) = key {
            self.request = self.request.header("Idempotency-Key", key);
        }
        self
    }

    /// Sends the request. Any status other than 2xx is an error.
    pub(super) async fn send(self) -> Result<Response, Error> {
        let target = self.target;
        let response = timeout(self.patience, self.request.send())
            .await
            .map_err(|_| Error::silent(target, self.patience))?
            .map_err(|error| unreachable(target, &error))?;
        if let Some(address) = response.remote_addr() {
            *self.reached.lock().unwrap_or_else(PoisonError::into_inner) = Some(address.ip());
        }
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let is_problem = response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/problem+json"));
        if !is_problem {
            let reason = match redirected(&response) {
                Some(place) => format!("it redirects to {place}: use that address"),
                None => "no problem report".to_owned(),
            };
            return Err(Error::unexpected(target, status, reason));
        }
        let problem = body(target, response).await?;
        match serde_json::from_slice(&problem) {
            Ok(problem) => Err(Error::Refused(Box::new(problem))),
            Err(error) => Err(Error::unexpected(target, status, error.to_string())),
        }
    }

    /// Sends the request and parses the response as JSON.
    pub(super) async fn read<T: DeserializeOwned>(self) -> Result<T, Error> {
        let target = self.target;
        let response = self.send().await?;
        let status = response.status();
        let content = body(target, response).await?;
        serde_json::from_slice(&content).map_err(|error| Error::unexpected(target, status, error.to_string()))
    }

    /// Sends the request and returns the response as text.
    pub(super) async fn text(self) -> Result<String, Error> {
        let target = self.target;
        let response = self.send().await?;
        let status = response.status();
        let content = body(target, response).await?;
        String::from_utf8(content).map_err(|error| Error::unexpected(target, status, error.to_string()))
    }

    /// Sends the request and ignores the content of the response.
    pub(super) async fn done(self) -> Result<(), Error> {
        self.send().await.map(drop)
    }
}

/// Reads a whole body. This may take any amount of time, as long as data keeps arriving.
async fn body(target: &Target, mut response: Response) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    loop {
        let chunk = timeout(STALL_TIMEOUT, response.chunk()).await;
        let chunk = chunk.map_err(|_| Error::silent(target, STALL_TIMEOUT))?;
        match chunk.map_err(|error| unreachable(target, &error))? {
            Some(chunk) => content.extend_from_slice(&chunk),
            None => return Ok(content),
        }
    }
}

/// Returns the scheme, host and port that a redirect leads to.
fn redirected(response: &Response) -> Option<String> {
    let place = response.headers().get(header::LOCATION)?.to_str().ok()?;
    let place = response.url().join(place).ok()?;
    response
        .status()
        .is_redirection()
        .then(|| place.origin().ascii_serialization())
}
