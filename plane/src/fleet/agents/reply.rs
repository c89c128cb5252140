//! Agents' replies to requests, such as a request for a configuration.

use wgctl::ServerId;
use wgctl::name::RequestId;
use wgctl::protocol::v1::Reply;

use crate::fleet::people::authority;
use crate::fleet::{Caller, Fleet, Refusal};

impl Fleet {
    /// Passes an agent's reply to the waiting request. A reply to a request that is no longer waiting
    /// is dropped.
    pub fn reply(&self, caller: &Caller, server: &ServerId, request: RequestId, reply: Reply) -> Result<(), Refusal> {
        let now = self.now();
        self.store().read(|tx| authority::check(tx, &caller.authority, now))?;
        self.shared.relay.waiters(server).reply(&request, reply);
        Ok(())
    }
}
