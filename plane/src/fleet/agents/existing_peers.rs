//! Lookup of the peers that an agent names, in a read transaction.

use std::collections::BTreeSet;

use wgctl::{PeerId, ServerId};

use crate::fleet::{Fleet, Refusal};
use crate::store::Read;

impl Fleet {
    /// Those of the named clients that there are. A reader looks: an agent may name any number, and the writer
    /// is everybody's.
    pub(super) async fn known(&self, server: &ServerId, named: BTreeSet<PeerId>) -> Result<BTreeSet<PeerId>, Refusal> {
        let id = server.clone();
        self.scan_for_agent(server, move |tx: &dyn Read| {
            let mut known = BTreeSet::new();
            for client in named {
                if tx.peer(&id, &client)?.is_some() {
                    known.insert(client);
                }
            }
            Ok(known)
        })
        .await
    }
}
