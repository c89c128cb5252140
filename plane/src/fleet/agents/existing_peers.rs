//! Lookup of the peers that an agent names, in a read transaction.

use std::collections::BTreeSet;

use wgctl::{PeerId, ServerId};

use crate::fleet::{Fleet, Refusal};
use crate::store::Read;

impl Fleet {
    /// Returns the named peers that exist. The lookup runs in a read transaction, because an agent may
    /// name any number of peers and all callers share one writer.
    pub(super) async fn existing_peers(
        &self,
        server: &ServerId,
        named: BTreeSet<PeerId>,
    ) -> Result<BTreeSet<PeerId>, Refusal> {
        let id = server.clone();
        self.scan_for_agent(server, move |tx: &dyn Read| {
            let mut existing = BTreeSet::new();
            for peer in named {
                if tx.peer(&id, &peer)?.is_some() {
                    existing.insert(peer);
                }
            }
            Ok(existing)
        })
        .await
    }
}
