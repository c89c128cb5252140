//! The endpoints for agents, one method each.
//!
//! Owns the paths and the time limit of the long poll. It must not interpret the responses.

use std::time::Duration;

use reqwest::Method;

use super::error::Error;
use super::plane_client::PlaneClient;
use crate::name::RequestId;
use crate::protocol::path;
use crate::protocol::v1::{
    Adopted, Adoption, AdoptionQuery, Applied, Desired, DesiredQuery, DriftReport, Hello, Prekeys, Reply, Terms,
    Welcome,
};

/// The time, in addition to `wait`, within which the response to a poll must begin. After that, the connection is
/// considered dead.
const POLL_GRACE: Duration = Duration::from_secs(10);

impl PlaneClient {
    /// Introduces the agent. This is the first request of a connection.
    pub async fn hello(&self, hello: &Hello) -> Result<Welcome, Error> {
        self.call(Method::POST, &[path::HELLO])?.json(hello).read().await
    }

    /// Returns the terms of an enrolment. Nothing is changed.
    pub async fn terms(&self) -> Result<Terms, Error> {
        self.call(Method::GET, &[path::ADOPTION])?.read().await
    }

    /// Asks the plane to record an existing interface as it is. With `dry_run`, only returns what would be recorded.
    pub async fn adopt(&self, adoption: &Adoption, dry_run: bool) -> Result<Adopted, Error> {
        self.call(Method::POST, &[path::ADOPTION])?
            .query(&AdoptionQuery { dry_run })
            .json(adoption)
            .read()
            .await
    }

    /// Waits for changes to the desired state, for at most `query.wait` seconds (the long poll).
    pub async fn desired(&self, query: &DesiredQuery) -> Result<Desired, Error> {
        let patience = Duration::from_secs(u64::from(query.wait)) + POLL_GRACE;
        self.call(Method::GET, &[path::DESIRED])?
            .query(query)
            .patience(patience)
            .read()
            .await
    }

    /// Confirms a revision, and names the peers that could not be applied.
    pub async fn applied(&self, applied: &Applied) -> Result<(), Error> {
        self.call(Method::POST, &[path::APPLIED])?.json(applied).done().await
    }

    /// Reports drift on the interface.
    pub async fn drift(&self, report: &DriftReport) -> Result<(), Error> {
        self.call(Method::POST, &[path::DRIFT])?.json(report).done().await
    }

    /// Adds to the plane's stock of prekeys.
    pub async fn prekeys(&self, prekeys: &Prekeys) -> Result<(), Error> {
        self.call(Method::POST, &[path::PREKEYS])?.json(prekeys).done().await
    }

    /// Replies to a request. The reply is secret, because it may contain a private key.
    pub async fn reply(&self, request: RequestId, reply: &Reply) -> Result<(), Error> {
        self.call(Method::POST, &[path::REPLIES, &request.to_string()])?
            .json(reply)
            .done()
            .await
    }
}
