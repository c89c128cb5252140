//! The agents' side: who they are, what they are to make true, what they tell.

use std::net::IpAddr;

use wgctl::ServerId;
use wgctl::api::Report;
use wgctl::name::RequestId;
use wgctl::protocol::v1::{Applied, Desired, DesiredQuery, Hello, Prekeys, Reply, Welcome};

use super::{Fleet, Refusal};

impl Fleet {
    /// Whose agent token this is; none for a token that is not (or no more) one. Cheap.
    pub async fn agent_by_token(&self, token: &str) -> Result<Option<ServerId>, Refusal> {
        todo!()
    }
    /// An agent introduces itself.
    pub async fn hello(&self, server: &ServerId, hello: Hello, ip: Option<IpAddr>) -> Result<Welcome, Refusal> {
        todo!()
    }
    /// The long poll: answers at once when there is news, else after `query.wait` seconds.
    pub async fn desired(&self, server: &ServerId, query: DesiredQuery) -> Result<Desired, Refusal> {
        todo!()
    }
    /// An agent confirms a revision.
    pub async fn applied(&self, server: &ServerId, applied: Applied) -> Result<(), Refusal> {
        todo!()
    }
    /// An agent fills up the stock of prekeys.
    pub async fn prekeys(&self, server: &ServerId, prekeys: Prekeys) -> Result<(), Refusal> {
        todo!()
    }
    /// An agent answers a request. An answer nobody waits for any more is let go.
    pub async fn reply(&self, server: &ServerId, request: RequestId, reply: Reply) -> Result<(), Refusal> {
        todo!()
    }
    /// An agent (or anything with its token) reports metrics. `report.server_id` must be `server`: the caller checks.
    pub async fn report(&self, server: &ServerId, report: Report) -> Result<(), Refusal> {
        todo!()
    }
}
