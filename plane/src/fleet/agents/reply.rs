//! Replies of an agent to requests, such as for a configuration.

use wgctl::ServerId;
use wgctl::name::RequestId;
use wgctl::protocol::v1::Reply;

use crate::fleet::people::authority;
use crate::fleet::{Caller, Fleet, Refusal};

impl Fleet {
    /// Passes an agent's reply to the waiting request. A reply that nothing waits for is dropped.
    pub fn reply(&self, caller: &Caller, server: &ServerId, request: RequestId, reply: Reply) -> Result<(), Refusal> {
        let now = self.now();
        self.store().read(|tx| authority::check(tx, &caller.authority, now))?;
        self.shared.relay.line(server).reply(&request, reply);
        Ok(())
    }
}
