//! The one typed HTTP client: of the command, of the agent and of the tests.
//!
//! Owns the transport (TCP, TLS, the plane's unix socket), the bearer token and the reading of
//! problem reports. `rest` and `agent` name the endpoints. It must not retry or decide: that is
//! its callers' business.

mod agent;
#[cfg(feature = "backup")]
mod backup;
mod rest;
mod trust;

use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Method, Response, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use url::Url;
use zeroize::Zeroizing;

use crate::api::Problem;
use crate::pin::Pin;
use trust::Distrust;

pub use rest::{AuditFormat, AuditQuery, HistoryQuery};
pub use trust::Trust;

/// How long a plane may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an ordinary answer may take to begin; the long poll sets its own.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the whole audit log may take to be verified.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(85);
/// How long everything there is may take to be copied, or sent and put in place.
#[cfg(feature = "backup")]
const COPY_TIMEOUT: Duration = Duration::from_secs(3600);
/// How long an answer that has begun may pause. There is no bound on the whole: a snapshot of a large
/// server over a slow line must arrive at last.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The same for whoever reads an answer in chunks; longer than any poll is held.
const READ_TIMEOUT: Duration = Duration::from_secs(90);

/// Where a plane is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Over TCP, `http` or `https`.
    Url(Url),
    /// The unix socket on the plane's own machine; the caller's uid is the identity.
    Socket(PathBuf),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url.as_str().trim_end_matches('/')),
            Self::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plane refused, and says why.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// Nobody answered.
    #[error("cannot reach the plane at {target}: {reason}")]
    Unreachable {
        /// Where.
        target: String,
        /// The innermost reason.
        reason: String,
    },
    /// Who answered is not trusted. Nothing was sent to it.
    #[error(
        "the plane at {target} is not trusted: {reason}. It shows {presented}: `sudo sentrazone-plane fingerprint` on \
         the plane's machine says what it should show{}",
        if *pinned { "; if it shows another key, somebody is in between" } else { ", and --pin takes that" }
    )]
    Untrusted {
        /// Where.
        target: String,
        /// Why its certificate was not taken.
        reason: String,
        /// The key it shows.
        presented: Pin,
        /// Whether another key was pinned.
        pinned: bool,
    },
    /// Who answered speaks TLS where it was not asked for, or none where it was.
    #[error("what answers at {target} speaks no {missing}: if it is the plane, use {instead}")]
    WrongScheme {
        /// Where.
        target: String,
        /// What was asked for.
        missing: &'static str,
        /// The same place with the other scheme.
        instead: String,
    },
    /// Something answered that is no plane, or a newer one.
    #[error("{target} answered {status} with something that is not the plane's API ({reason})")]
    Unexpected {
        /// Where.
        target: String,
        /// The HTTP status.
        status: u16,
        /// What was odd.
        reason: String,
    },
    /// The client itself could not be set up.
    #[error("cannot set up the HTTP client: {0}")]
    Setup(String),
}

impl Error {
    /// The plane's status, where it answered with a problem.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(problem) => Some(problem.status),
            Self::Unexpected { status, .. } => Some(*status),
            Self::Unreachable { .. } | Self::Untrusted { .. } | Self::WrongScheme { .. } | Self::Setup(_) => None,
        }
    }

    /// The problem's stable code, where the plane answered with one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) => Some(&problem.code),
            _ => None,
        }
    }
}

/// A plane, and who calls it. Cheap to clone; connections are kept and shared.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    target: Target,
    base: Url,
    token: Option<Zeroizing<String>>,
}

impl Client {
    /// A client of the plane at `target`. `certificates` (PEM) are trusted beside the system's.
    pub fn new(target: Target, certificates: Option<&[u8]>) -> Result<Self, Error> {
        Self::trusting(target, &Trust::Authorities(certificates.map(<[u8]>::to_vec)))
    }

    /// A client of the plane at `target`, which is known by `trust`.
    pub fn trusting(target: Target, trust: &Trust) -> Result<Self, Error> {
        Self::build(target, trust, READ_TIMEOUT)
    }

    /// The same, for copies of everything: sending one may take longer than any answer may.
    #[cfg(feature = "backup")]
    pub fn for_copies(target: Target, trust: &Trust) -> Result<Self, Error> {
        Self::build(target, trust, COPY_TIMEOUT)
    }

    fn build(target: Target, trust: &Trust, read_timeout: Duration) -> Result<Self, Error> {
        let setup = |error: reqwest::Error| Error::Setup(innermost(&error));
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(read_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("sentrazone/", env!("CARGO_PKG_VERSION")));
        let base = match &target {
            Target::Url(url) => url.clone(),
            Target::Socket(path) => {
                builder = builder.unix_socket(path.as_path());
                Url::parse("http://localhost").map_err(|error| Error::Setup(error.to_string()))?
            }
        };
        builder = match base.scheme() {
            // Without TLS the system's certificates are not asked for: a small host may have none.
            // Nor does a proxy of the environment see what is not encrypted: nobody else is to read it.
            "http" => builder.tls_certs_only([]).no_proxy(),
            _ => builder.tls_backend_preconfigured(trust.tls()?),
        };
        let http = builder.build().map_err(setup)?;
        Ok(Self {
            http,
            target,
            base,
            token: None,
        })
    }

    /// The same plane, called with this bearer token.
    #[must_use]
    pub fn with_token(mut self, token: Zeroizing<String>) -> Self {
        self.token = Some(token);
        self
    }

    /// Where it calls.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// A call to be completed. `segments` are escaped one by one, so that no name can change the path.
    fn call(&self, method: Method, segments: &[&str]) -> Result<Call<'_>, Error> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Error::Setup(format!("{} cannot be a base URL", self.base)))?
            .pop_if_empty()
            .extend(segments.iter().flat_map(|part| {
                part.strip_prefix('/')
                    .map_or_else(|| vec![*part], |path| path.split('/').collect())
            }));
        let mut request = self.http.request(method, url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.as_str());
        }
        Ok(Call {
            client: self,
            request,
            patience: ANSWER_TIMEOUT,
        })
    }

    fn silent(&self, limit: Duration) -> Error {
        Error::Unreachable {
            target: self.target.to_string(),
            reason: format!("no answer for {} s", limit.as_secs()),
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> Error {
        let target = self.target.to_string();
        if let Some(distrust) = Distrust::inside(error) {
            return Error::Untrusted {
                target,
                reason: distrust.reason.clone(),
                presented: distrust.presented,
                pinned: distrust.pinned,
            };
        }
        let asked = match &self.target {
            Target::Url(url) => target
                .split_once("://")
                .filter(|_| speaks_otherwise(error, url.scheme())),
            Target::Socket(_) => None,
        };
        let (missing, instead) = match asked {
            None => {
                let reason = innermost(error);
                return Error::Unreachable { target, reason };
            }
            Some(("https", place)) => ("TLS", format!("http://{place}")),
            Some((_, place)) => ("plain http", format!("https://{place}")),
        };
        Error::WrongScheme {
            target,
            missing,
            instead,
        }
    }

    fn unexpected(&self, status: StatusCode, reason: impl Into<String>) -> Error {
        Error::Unexpected {
            target: self.target.to_string(),
            status: status.as_u16(),
            reason: reason.into(),
        }
    }
}

/// One request under construction.
struct Call<'c> {
    client: &'c Client,
    request: reqwest::RequestBuilder,
    /// How long the answer may take to begin.
    patience: Duration,
}

impl Call<'_> {
    fn json<B: Serialize + ?Sized>(mut self, body: &B) -> Self {
        self.request = self.request.json(body);
        self
    }

    fn query<Q: Serialize + ?Sized>(mut self, query: &Q) -> Self {
        self.request = self.request.query(query);
        self
    }

    const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn idempotency_key(mut self, key: Option<&str>) -> Self {
        if let Some(key) = key {
            self.request = self.request.header("Idempotency-Key", key);
        }
        self
    }

    /// Sends; anything but 2xx is an error.
    async fn send(self) -> Result<Response, Error> {
        let client = self.client;
        let response = timeout(self.patience, self.request.send())
            .await
            .map_err(|_| client.silent(self.patience))?
            .map_err(|error| client.unreachable(&error))?;
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
                Some(place) => format!("it redirects to {place}: use that"),
                None => "no problem report".to_owned(),
            };
            return Err(client.unexpected(status, reason));
        }
        let problem = body(client, response).await?;
        match serde_json::from_slice(&problem) {
            Ok(problem) => Err(Error::Refused(Box::new(problem))),
            Err(error) => Err(client.unexpected(status, error.to_string())),
        }
    }

    /// Sends and reads a JSON answer.
    async fn read<T: DeserializeOwned>(self) -> Result<T, Error> {
        let client = self.client;
        let response = self.send().await?;
        let status = response.status();
        let content = body(client, response).await?;
        serde_json::from_slice(&content).map_err(|error| client.unexpected(status, error.to_string()))
    }

    /// Sends and reads a text answer.
    async fn text(self) -> Result<String, Error> {
        let client = self.client;
        let response = self.send().await?;
        let status = response.status();
        let content = body(client, response).await?;
        String::from_utf8(content).map_err(|error| client.unexpected(status, error.to_string()))
    }

    /// Sends and expects no answer worth reading.
    async fn done(self) -> Result<(), Error> {
        self.send().await.map(drop)
    }
}

/// A whole body, however long it takes while it keeps coming.
async fn body(client: &Client, mut response: Response) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    loop {
        let chunk = timeout(STALL_TIMEOUT, response.chunk()).await;
        let chunk = chunk.map_err(|_| client.silent(STALL_TIMEOUT))?;
        match chunk.map_err(|error| client.unreachable(&error))? {
            Some(chunk) => content.extend_from_slice(&chunk),
            None => return Ok(content),
        }
    }
}

/// Whether what came is no TLS where that was asked for, or no HTTP: what begins a TLS connection is none.
fn speaks_otherwise(error: &(dyn std::error::Error + 'static), scheme: &str) -> bool {
    match scheme {
        "https" => trust::is_no_tls(error),
        _ => causes(error).any(|cause| cause.downcast_ref().is_some_and(hyper::Error::is_parse)),
    }
}

/// The scheme and host that a redirection leads to.
fn redirected(response: &Response) -> Option<String> {
    let place = response.headers().get(header::LOCATION)?.to_str().ok()?;
    let place = response.url().join(place).ok()?;
    response
        .status()
        .is_redirection()
        .then(|| place.origin().ascii_serialization())
}

/// An error and what it came from.
fn causes<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// The innermost cause: "connection refused" rather than "error sending request".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests;
