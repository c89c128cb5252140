//! The client for one plane: its address, the trust in its certificate, and the token.
//!
//! Owns the transport (TCP, TLS, the plane's unix socket). It must not define endpoints: `rest`, `agent` and
//! `backup` do so.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Method;
use url::Url;
use zeroize::Zeroizing;

use super::call::Call;
use super::cause::innermost;
use super::error::Error;
use super::target::Target;
use super::trust::Trust;

/// The time within which a plane must accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest pause within a response that is read in chunks. It is longer than the wait of any poll.
const READ_TIMEOUT: Duration = Duration::from_secs(90);
/// The time limit for a backup or a restore.
#[cfg(feature = "backup")]
pub(super) const COPY_TIMEOUT: Duration = Duration::from_secs(3600);

/// A client for one plane and one caller. It is cheap to clone; the connections are kept open and shared.
#[derive(Clone)]
pub struct PlaneClient {
    http: reqwest::Client,
    target: Target,
    base: Url,
    token: Option<Zeroizing<String>>,
    reached: Arc<Mutex<Option<IpAddr>>>,
}

impl PlaneClient {
    /// Creates a client for the plane at `target`. The `certificates` (PEM) are trusted in addition to the
    /// system's.
    pub fn new(target: Target, certificates: Option<&[u8]>) -> Result<Self, Error> {
        Self::trusting(target, &Trust::Authorities(certificates.map(<[u8]>::to_vec)))
    }

    /// Creates a client for the plane at `target`, which must satisfy `trust`.
    pub fn trusting(target: Target, trust: &Trust) -> Result<Self, Error> {
        Self::build(target, trust, READ_TIMEOUT)
    }

    /// Creates a client for backups and restores. Sending a backup may take longer than the time limit for other
    /// responses.
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
            // Without TLS, the system's certificates are not loaded, because a small host may have none. A
            // proxy from the environment is not used either, because it could read the unencrypted traffic.
            "http" => builder.tls_certs_only([]).no_proxy(),
            _ => builder.tls_backend_preconfigured(trust.tls()?),
        };
        let http = builder.build().map_err(setup)?;
        Ok(Self {
            http,
            target,
            base,
            token: None,
            reached: Arc::default(),
        })
    }

    /// Returns the client with this bearer token.
    #[must_use]
    pub fn with_token(mut self, token: Zeroizing<String>) -> Self {
        self.token = Some(token);
        self
    }

    /// Returns the address of the plane.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Returns the plane's IP address on the connection that carried the last response; `None` before the first one,
    /// and over the unix socket.
    #[must_use]
    pub fn reached(&self) -> Option<IpAddr> {
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a call. The `segments` are escaped individually, so that no name can change the path.
    pub(super) fn call(&self, method: Method, segments: &[&str]) -> Result<Call<'_>, Error> {
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
        Ok(Call::new(&self.target, &self.reached, request))
    }
}
