//! The requests that an agent sends to one plane, as a trait, and their implementation over HTTP.
//!
//! Owns the list of requests and the rule that decides which failures are temporary. It must not decide what is
//! sent or when.

use std::net::IpAddr;

use wgctl::api::Report;
use wgctl::client::{Error, PlaneClient, Target};
use wgctl::name::RequestId;
use wgctl::protocol::v1::{Applied, Desired, DesiredQuery, DriftReport, Hello, Prekeys, Reply, Welcome};

/// The requests from an agent to a plane, one method per request.
pub trait Plane: Clone + Send + Sync + 'static {
    /// Introduces the agent. This is the first request on each connection.
    fn hello(&self, hello: &Hello) -> impl Future<Output = Result<Welcome, Error>> + Send;
    /// Polls for the desired state (long poll): returns as soon as there is news, at the latest after
    /// `query.wait` seconds.
    fn desired(&self, query: &DesiredQuery) -> impl Future<Output = Result<Desired, Error>> + Send;
    /// Confirms the state that has been applied to the kernel.
    fn applied(&self, applied: &Applied) -> impl Future<Output = Result<(), Error>> + Send;
    /// Reports drift.
    fn drift(&self, report: &DriftReport) -> impl Future<Output = Result<(), Error>> + Send;
    /// Adds to the plane's stock of prekeys.
    fn prekeys(&self, prekeys: &Prekeys) -> impl Future<Output = Result<(), Error>> + Send;
    /// Replies to a request from the plane. The reply is secret, because it may contain a private key.
    fn reply(&self, request: RequestId, reply: &Reply) -> impl Future<Output = Result<(), Error>> + Send;
    /// Reports the state of the host.
    fn report(&self, report: &Report) -> impl Future<Output = Result<(), Error>> + Send;
    /// Checks that the plane is reachable.
    fn health(&self) -> impl Future<Output = Result<(), Error>> + Send;
    /// Returns the plane's IP address on the connection that carried the last response; `None` before the first one.
    fn reached(&self) -> Option<IpAddr>;
    /// Returns the plane's address, for the log.
    fn target(&self) -> &Target;
}

impl Plane for PlaneClient {
    async fn hello(&self, hello: &Hello) -> Result<Welcome, Error> {
        Self::hello(self, hello).await
    }

    async fn desired(&self, query: &DesiredQuery) -> Result<Desired, Error> {
        Self::desired(self, query).await
    }

    async fn applied(&self, applied: &Applied) -> Result<(), Error> {
        Self::applied(self, applied).await
    }

    async fn drift(&self, report: &DriftReport) -> Result<(), Error> {
        Self::drift(self, report).await
    }

    async fn prekeys(&self, prekeys: &Prekeys) -> Result<(), Error> {
        Self::prekeys(self, prekeys).await
    }

    async fn reply(&self, request: RequestId, reply: &Reply) -> Result<(), Error> {
        Self::reply(self, request, reply).await
    }

    async fn report(&self, report: &Report) -> Result<(), Error> {
        Self::report(self, report).await
    }

    async fn health(&self) -> Result<(), Error> {
        Self::health(self).await.map(drop)
    }

    fn reached(&self) -> Option<IpAddr> {
        Self::reached(self)
    }

    fn target(&self) -> &Target {
        Self::target(self)
    }
}

/// Returns whether the same message may succeed later. If it cannot, the caller waits for the next message or
/// connection.
pub(crate) fn is_temporary(error: &Error) -> bool {
    error
        .status()
        .is_none_or(|status| status >= 500 || [408, 429].contains(&status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confirmation_is_retried_unless_it_was_refused_permanently() {
        let answered = |status| Error::Unexpected {
            target: String::new(),
            status,
            reason: String::new(),
        };
        let unreachable = Error::Unreachable {
            target: String::new(),
            reason: String::new(),
        };
        assert!(is_temporary(&unreachable));
        assert!(
            [408, 429, 500, 502, 503]
                .into_iter()
                .all(|status| is_temporary(&answered(status)))
        );
        assert!(
            ![401, 403, 413, 422]
                .into_iter()
                .any(|status| is_temporary(&answered(status)))
        );
    }
}
