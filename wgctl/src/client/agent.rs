//! The agent's endpoints, one method each.
//!
//! Owns paths and the long poll's patience. It must not interpret the answers.

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

/// The time after `wait` in which a poll's answer must begin; after it the connection is taken for dead.
const POLL_GRACE: Duration = Duration::from_secs(10);

impl PlaneClient {
    /// Introduces the agent; the first call of a connection.
    pub async fn hello(&self, hello: &Hello) -> Result<Welcome, Error> {
        self.call(Method::POST, &[path::HELLO])?.json(hello).read().await
    }

    /// The terms of an enrolment. Changes nothing.
    pub async fn terms(&self) -> Result<Terms, Error> {
        self.call(Method::GET, &[path::ADOPTION])?.read().await
    }

    /// Has an interface recorded as it is; with `dry_run` only says what would be recorded.
    pub async fn adopt(&self, adoption: &Adoption, dry_run: bool) -> Result<Adopted, Error> {
        self.call(Method::POST, &[path::ADOPTION])?
            .query(&AdoptionQuery { dry_run })
            .json(adoption)
            .read()
            .await
    }

    /// The long poll: answers when there is news, at the latest after `query.wait` seconds.
    pub async fn desired(&self, query: &DesiredQuery) -> Result<Desired, Error> {
        let patience = Duration::from_secs(u64::from(query.wait)) + POLL_GRACE;
        self.call(Method::GET, &[path::DESIRED])?
            .query(query)
            .patience(patience)
            .read()
            .await
    }

    /// Confirms what the kernel has.
    pub async fn applied(&self, applied: &Applied) -> Result<(), Error> {
        self.call(Method::POST, &[path::APPLIED])?.json(applied).done().await
    }

    /// Tells what others did to the interface.
    pub async fn drift(&self, report: &DriftReport) -> Result<(), Error> {
        self.call(Method::POST, &[path::DRIFT])?.json(report).done().await
    }

    /// Fills the plane's stock of prekeys.
    pub async fn prekeys(&self, prekeys: &Prekeys) -> Result<(), Error> {
        self.call(Method::POST, &[path::PREKEYS])?.json(prekeys).done().await
    }

    /// Answers a request. Secret: the answer may hold a private key.
    pub async fn reply(&self, request: RequestId, reply: &Reply) -> Result<(), Error> {
        self.call(Method::POST, &[path::REPLIES, &request.to_string()])?
            .json(reply)
            .done()
            .await
    }
}
